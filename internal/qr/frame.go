package qr

import (
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Frames use nothing but what QR codes hold densest, digits, capitals and a
// few signs: Q1/number/count/hash/part, hash and part in base 32.
const prefix = "Q1/"

// Bytes of a file in one frame: what a terminal of 80 columns shows, and what
// a camera still reads from a sheet of paper.
const (
	TerminalPart = 280
	PicturePart  = 900
)

// Limits of what is joined.
const (
	MaxFrames = 999
	maxFrame  = 4296 // the most that a QR code holds
)

var encoding = base32.StdEncoding.WithPadding(base32.NoPadding)

func hash(file []byte) string {
	sum := sha256.Sum256(file)
	return encoding.EncodeToString(sum[:10])
}

// Frames cuts a file into texts.
func Frames(file []byte, part int) ([]string, error) {
	count := max(1, (len(file)+part-1)/part)
	if count > MaxFrames {
		return nil, fmt.Errorf("cut %d bytes into frames: %d are over the limit of %d", len(file), count, MaxFrames)
	}
	out := make([]string, count)
	for i := range out {
		body := file[min(i*part, len(file)):min((i+1)*part, len(file))]
		out[i] = fmt.Sprintf("%s%d/%d/%s/%s", prefix, i+1, count, hash(file), encoding.EncodeToString(body))
	}
	return out, nil
}

// ErrMissing is wrapped by the error that names the frames that are not there.
var ErrMissing = errors.New("frames are missing")

// ErrMixed means that frames are not all of the same file.
var ErrMixed = errors.New("they are of different files")

// Join puts a file together. Frames come in any order, and as often as they like.
func Join(frames []string) ([]byte, error) {
	file, err := join(frames)
	if err != nil {
		return nil, fmt.Errorf("join frames: %w", err)
	}
	return file, nil
}

func join(frames []string) ([]byte, error) {
	var parts [][]byte
	var name string
	for _, text := range frames {
		rest, ok := strings.CutPrefix(text, prefix)
		fields := strings.Split(rest, "/")
		if !ok || len(fields) != 4 || len(text) > maxFrame {
			return nil, errors.New("a QR code is none of ours")
		}
		number, err1 := strconv.Atoi(fields[0])
		count, err2 := strconv.Atoi(fields[1])
		body, err3 := encoding.DecodeString(fields[3])
		if err := errors.Join(err1, err2, err3); err != nil || count < 1 || count > MaxFrames || number < 1 || number > count {
			return nil, errors.New("a frame is damaged")
		}
		if parts == nil {
			parts, name = make([][]byte, count), fields[2]
		}
		if fields[2] != name || count != len(parts) {
			return nil, ErrMixed
		}
		parts[number-1] = body
	}
	if parts == nil {
		return nil, errors.New("there are none")
	}
	var file []byte
	var missing []string
	for i, p := range parts {
		if p == nil {
			missing = append(missing, strconv.Itoa(i+1))
		}
		file = append(file, p...)
	}
	switch {
	case len(missing) > 0:
		return nil, fmt.Errorf("%w: %s of %d", ErrMissing, strings.Join(missing, ", "), len(parts))
	case hash(file) != name:
		return nil, errors.New("a frame is damaged")
	}
	return file, nil
}
