package qr

import (
	"bytes"
	"errors"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"image/draw"
)

func file(n int) []byte {
	out := make([]byte, n)
	rng := rand.New(rand.NewPCG(1, uint64(n)))
	for i := range out {
		out[i] = byte(rng.Uint32())
	}
	return out
}

// TestPictures draws files and reads the pictures again, shuffled and twice.
func TestPictures(t *testing.T) {
	for _, size := range []int{0, 1, TerminalPart, PicturePart, 3*PicturePart + 7} {
		want := file(size)
		frames, err := Frames(want, PicturePart)
		if err != nil {
			t.Fatal(err)
		}
		var read []string
		for _, f := range frames {
			raw, err := PNG(f)
			if err != nil || !IsPicture(raw) {
				t.Fatal(err)
			}
			text, err := Read(raw)
			if err != nil {
				t.Fatalf("%d bytes: %v", size, err)
			}
			read = append([]string{text, text}, read...)
		}
		got, err := Join(read)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes come back as %d: %v", size, len(got), err)
		}
	}
}

// TestPhotograph reads a frame from a turned, noisy, badly lit JPEG.
func TestPhotograph(t *testing.T) {
	frames, err := Frames(file(PicturePart), PicturePart)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := PNG(frames[0])
	if err != nil {
		t.Fatal(err)
	}
	flat, err := png.Decode(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	photo := image.NewGray(image.Rect(0, 0, 1100, 1000))
	rng := rand.New(rand.NewPCG(1, 2))
	sin, cos := math.Sincos(0.06)
	for y := range 1000 {
		for x := range 1100 {
			fx, fy := (float64(x)-100)*0.62, (float64(y)-60)*0.62
			at := image.Pt(int(fx*cos+fy*sin), int(fy*cos-fx*sin))
			v := 190.0
			if at.In(flat.Bounds()) {
				if r, _, _, _ := flat.At(at.X, at.Y).RGBA(); r == 0 {
					v = 40
				} else {
					v = 220
				}
			}
			v = v*(0.7+0.3*float64(x)/1100) + rng.NormFloat64()*6
			photo.SetGray(x, y, color.Gray{uint8(max(0, min(255, v)))})
		}
	}
	var out bytes.Buffer
	if err := jpeg.Encode(&out, photo, &jpeg.Options{Quality: 80}); err != nil {
		t.Fatal(err)
	}
	if got, err := Read(out.Bytes()); err != nil || got != frames[0] {
		t.Fatalf("%v", err)
	}
}

// TestTerminal turns what is printed into a picture again.
func TestTerminal(t *testing.T) {
	frames, err := Frames(file(TerminalPart), TerminalPart)
	if err != nil {
		t.Fatal(err)
	}
	text, err := Terminal(frames[0])
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	width := len([]rune(strings.NewReplacer("\033[30;107m", "", "\033[0m", "").Replace(lines[0])))
	if width > 80 || len(lines) > 50 {
		t.Errorf("%d columns, %d lines", width, len(lines))
	}
	const s = 3
	img := image.NewGray(image.Rect(0, 0, width*s, len(lines)*2*s))
	draw.Draw(img, img.Bounds(), image.White, image.Point{}, draw.Src)
	for y, line := range lines {
		for x, r := range []rune(strings.NewReplacer("\033[30;107m", "", "\033[0m", "").Replace(line)) {
			for k, dark := range []bool{r == '█' || r == '▀', r == '█' || r == '▄'} {
				if dark {
					at := image.Rect(x*s, (2*y+k)*s, (x+1)*s, (2*y+k+1)*s)
					draw.Draw(img, at, image.Black, image.Point{}, draw.Src)
				}
			}
		}
	}
	var out bytes.Buffer
	if err := png.Encode(&out, img); err != nil {
		t.Fatal(err)
	}
	if got, err := Read(out.Bytes()); err != nil || got != frames[0] {
		t.Fatal(err)
	}
}

func TestJoinRefuses(t *testing.T) {
	one, _ := Frames(file(2000), 900)
	two, _ := Frames(file(2001), 900)
	if _, err := Join(one[:2]); !errors.Is(err, ErrMissing) || !strings.Contains(err.Error(), "3 of 3") {
		t.Error(err)
	}
	if _, err := Join([]string{one[0], two[1], two[2]}); !errors.Is(err, ErrMixed) {
		t.Error(err)
	}
	swapped := slices.Clone(one)
	swapped[0] = strings.Replace(swapped[0], "Q1/1/", "Q1/2/", 1)
	damaged := slices.Clone(one)
	damaged[1] = damaged[1][:len(damaged[1])-8] + "AAAAAAAA"
	for name, frames := range map[string][]string{
		"nothing": nil, "another's": {"https://example.org"}, "damaged": damaged, "swapped": swapped,
		"no number": {"Q1/x/1/A/A"}, "beyond": {"Q1/2/1/A/AA"}, "too many": {"Q1/1/1000/A/AA"},
	} {
		if _, err := Join(frames); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	if _, err := Frames(file(MaxFrames+1), 1); err == nil {
		t.Error("too many frames are made")
	}
}

func FuzzJoin(f *testing.F) {
	frames, _ := Frames(file(100), 60)
	f.Add(frames[0], frames[1])
	f.Fuzz(func(t *testing.T, a, b string) {
		got, err := Join([]string{a, b})
		if err == nil && !strings.Contains(a, hash(got)) {
			t.Fatal("joined what is not the file that it names")
		}
	})
}

func FuzzRead(f *testing.F) {
	raw, _ := PNG("Q1/1/1/AAAA/AA")
	f.Add(raw)
	f.Fuzz(func(t *testing.T, raw []byte) {
		if text, err := Read(raw); err == nil && text == "" {
			t.Fatal("an empty text is read")
		}
	})
}
