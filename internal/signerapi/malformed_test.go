package signerapi

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// Thousands of broken requests are answered with what is wrong about them:
// never a panic, and never a 5xx but the one for a contradicting root.
func TestMalformedRequests(t *testing.T) {
	f := newFixture(t)
	var valid []string
	for _, v := range readVectors(t).Vectors {
		valid = append(valid, string(v.Request))
	}
	sent, statuses := 0, map[int]int{}
	try := func(target, body string) {
		t.Helper()
		sent++
		w := f.do("POST", target, body)
		statuses[w.Code]++
		if w.Code == 500 && strings.Contains(w.Body.String(), "signing root") {
			return // documented
		}
		if w.Code >= 500 {
			t.Fatalf("status %d for %.2000s: %s", w.Code, body, w.Body)
		}
		want(t, w, w.Code)
	}
	random := rand.New(rand.NewPCG(1, 2))
	for _, body := range valid {
		for range 60 {
			try(f.sign, body[:random.IntN(len(body))])
			b := []byte(body)
			for range 1 + random.IntN(3) {
				b[random.IntN(len(b))] = byte(random.Uint32())
			}
			try(f.sign, string(b))
			at := random.IntN(len(body))
			try(f.sign, body[:at]+body[random.IntN(len(body)):])
		}
		for _, mutant := range mutants(t, body, random, 120) {
			try(f.sign, mutant)
		}
		try(f.sign, body+body)
		try(f.sign, body+"x")
		try(f.sign, "["+body+"]")
	}
	for _, body := range []string{
		"", " ", "null", "true", "0", `""`, "[]", "{}", "{", "}", `{"type":null}`, `{"type":"BLOCK"}`, `{"type":"NONE"}`,
		"\x00", "\xff\xfe", "\ufeff" + randao, strings.Repeat("[", 100_000), strings.Repeat(`{"a":`, 50_000),
		`{"type":"` + strings.Repeat("A", 100_000) + `"}`, strings.Replace(randao, "411400", strings.Repeat("9", 10_000), 1),
	} {
		try(f.sign, body)
	}
	if sent < 2000 || statuses[400] < sent/2 {
		t.Errorf("%d requests, by status %v: the mutations are too tame", sent, statuses)
	}
}

// mutants replaces, removes or doubles values anywhere in a document.
func mutants(t *testing.T, body string, random *rand.Rand, n int) []string {
	t.Helper()
	var all []string
	var walk func(value any, render func(string) string)
	walk = func(value any, render func(string) string) {
		for _, v := range []string{"null", "-1", "1e400", "18446744073709551616", `""`, `"0x"`, `"0xzz"`, `"-1"`, `"１"`, "[]", "{}", "true",
			strings.Repeat("[", 200) + strings.Repeat("]", 200)} {
			all = append(all, render(v))
		}
		switch value := value.(type) {
		case map[string]any:
			keys := make([]string, 0, len(value))
			for k := range value {
				keys = append(keys, k)
			}
			slices.Sort(keys)
			object := func(skip, replaced string) string {
				var fields []string
				for _, k := range keys {
					text := marshal(t, value[k])
					switch {
					case k == skip && replaced == "":
						continue
					case k == skip:
						text = replaced
					}
					fields = append(fields, fmt.Sprintf("%q:%s", k, text))
				}
				return "{" + strings.Join(fields, ",") + "}"
			}
			for _, k := range keys {
				all = append(all, render(object(k, "")))                                            // removed
				all = append(all, render(strings.Replace(object("", ""), "{", "{\""+k+"\":1,", 1))) // doubled
				walk(value[k], func(s string) string { return render(object(k, s)) })
			}
		case []any:
			for i := range value {
				walk(value[i], func(s string) string {
					items := make([]string, len(value))
					for j := range value {
						items[j] = marshal(t, value[j])
					}
					items[i] = s
					return render("[" + strings.Join(items, ",") + "]")
				})
			}
		}
	}
	var document any
	if err := json.Unmarshal([]byte(body), &document); err != nil {
		t.Fatal(err)
	}
	walk(document, func(s string) string { return s })
	random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all[:min(n, len(all))]
}

func marshal(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
