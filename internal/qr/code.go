package qr

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/color"
	_ "image/jpeg" // pictures come from cameras
	"image/png"
	"strings"

	"github.com/makiuchi-d/gozxing"
	"github.com/makiuchi-d/gozxing/qrcode"
	"github.com/makiuchi-d/gozxing/qrcode/decoder"
	"github.com/makiuchi-d/gozxing/qrcode/encoder"
)

const (
	quiet = 4 // modules of margin that the standard wants
	scale = 4 // pixels of a module
)

// modules returns the code of a text, dark where true, with its margin.
func modules(text string) ([][]bool, error) {
	code, err := encoder.Encoder_encodeWithoutHint(text, decoder.ErrorCorrectionLevel_M)
	if err != nil {
		return nil, fmt.Errorf("draw QR code of %d characters: %w", len(text), err)
	}
	m := code.GetMatrix()
	out := make([][]bool, m.GetHeight()+2*quiet)
	for y := range out {
		out[y] = make([]bool, m.GetWidth()+2*quiet)
		for x := range out[y] {
			if inX, inY := x-quiet, y-quiet; inX >= 0 && inY >= 0 && inX < m.GetWidth() && inY < m.GetHeight() {
				out[y][x] = m.Get(inX, inY) == 1
			}
		}
	}
	return out, nil
}

// Terminal draws the code of a text in characters, two modules in each, for a
// terminal of any colours.
func Terminal(text string) (string, error) {
	m, err := modules(text)
	if err != nil {
		return "", err
	}
	var out strings.Builder
	for y := 0; y < len(m); y += 2 {
		out.WriteString("\033[30;107m") // black on white
		for x := range m[y] {
			below := y+1 < len(m) && m[y+1][x]
			switch {
			case m[y][x] && below:
				out.WriteRune('█')
			case m[y][x]:
				out.WriteRune('▀')
			case below:
				out.WriteRune('▄')
			default:
				out.WriteByte(' ')
			}
		}
		out.WriteString("\033[0m\n")
	}
	return out.String(), nil
}

// PNG draws the code of a text as a picture.
func PNG(text string) ([]byte, error) {
	m, err := modules(text)
	if err != nil {
		return nil, err
	}
	img := image.NewPaletted(image.Rect(0, 0, len(m)*scale, len(m)*scale), color.Palette{color.White, color.Black})
	for y := range m {
		for x := range m[y] {
			if !m[y][x] {
				continue
			}
			for k := range scale * scale {
				img.SetColorIndex(x*scale+k%scale, y*scale+k/scale, 1)
			}
		}
	}
	var out bytes.Buffer
	if err := png.Encode(&out, img); err != nil {
		return nil, fmt.Errorf("draw QR code: %w", err)
	}
	return out.Bytes(), nil
}

// Limits of a picture that is read.
const (
	MaxPicture = 32 << 20
	maxPixels  = 64 << 20
)

// IsPicture says whether a file looks like one.
func IsPicture(raw []byte) bool {
	_, kind, err := image.DecodeConfig(bytes.NewReader(raw))
	return err == nil && (kind == "png" || kind == "jpeg")
}

// Read returns the text of the code in a picture, PNG or JPEG.
func Read(raw []byte) (string, error) {
	config, _, err := image.DecodeConfig(bytes.NewReader(raw))
	if err != nil {
		return "", fmt.Errorf("read picture: %w", err)
	}
	if len(raw) > MaxPicture || config.Width <= 0 || config.Height <= 0 || config.Width > maxPixels/config.Height {
		return "", fmt.Errorf("read picture: %d by %d pixels in %d bytes are too many", config.Width, config.Height, len(raw))
	}
	img, _, err := image.Decode(bytes.NewReader(raw))
	if err != nil {
		return "", fmt.Errorf("read picture: %w", err)
	}
	source := gozxing.NewLuminanceSourceFromImage(img)
	for _, try := range []struct {
		binarizer gozxing.Binarizer
		hint      gozxing.DecodeHintType
	}{
		{gozxing.NewGlobalHistgramBinarizer(source), gozxing.DecodeHintType_PURE_BARCODE},
		{gozxing.NewHybridBinarizer(source), gozxing.DecodeHintType_TRY_HARDER},
		{gozxing.NewGlobalHistgramBinarizer(source), gozxing.DecodeHintType_TRY_HARDER},
	} {
		if text, ok := decode(try.binarizer, try.hint); ok {
			return text, nil
		}
	}
	return "", errors.New("read picture: there is no QR code in it, or it is blurred")
}

// decode survives the library on pictures that it was not made for.
func decode(b gozxing.Binarizer, hint gozxing.DecodeHintType) (text string, ok bool) {
	defer func() {
		if recover() != nil {
			text, ok = "", false
		}
	}()
	bitmap, err := gozxing.NewBinaryBitmap(b)
	if err != nil {
		return "", false
	}
	result, err := qrcode.NewQRCodeReader().Decode(bitmap, map[gozxing.DecodeHintType]any{hint: true})
	if err != nil {
		return "", false
	}
	return result.GetText(), true
}
