package signerapi

import (
	"encoding/json"
	"testing"
	"unicode/utf8"
)

// Where encoding/json does not have to replace anything, both agree; where it
// does, jsonText refuses.
func FuzzJSONText(f *testing.F) {
	for _, seed := range []string{
		`""`, `"plain"`, `"\"\\\/\b\f\n\r\t"`, `"\u0041\u00e9\u20ac"`, `"\ud83d\ude00"`, `"\ud83d"`, `"\ud83dx"`,
		`"\ud83d\u0041"`, `"\ude00\ud83d"`, `"\ufffd"`, `"�"`, `null`, `12`, `{}`, "\"\xff\"", `"\u0000"`, `"\uD83D\uDE00"`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var got jsonText
		err := json.Unmarshal(raw, &got)
		var ref any
		if json.Unmarshal(raw, &ref) != nil {
			if err == nil {
				t.Fatalf("%q is not JSON but was taken", raw)
			}
			return
		}
		text, isText := ref.(string)
		if err == nil && (!isText || string(got) != text || !utf8.Valid(got)) {
			t.Fatalf("%q: got %q, want %q", raw, got, text)
		}
		if err != nil && isText && utf8.Valid(raw) && !containsRune(text, utf8.RuneError) {
			t.Fatalf("%q: refused", raw)
		}
	})
}

func containsRune(s string, r rune) bool {
	for _, c := range s {
		if c == r {
			return true
		}
	}
	return false
}
