package policy

import (
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write testdata/*.txt anew")

// What people read of a policy is pinned: they decide by it.
func TestDescribe(t *testing.T) {
	example, err := os.ReadFile("testdata/example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for name, doc := range map[string][]byte{"example": example, "team": Team(), "operators": Operators(), "dev": Dev()} {
		golden := "testdata/" + name + ".txt"
		got := compile(t, string(doc)).Describe()
		if *update {
			if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); diff != "" {
			t.Errorf("%s reads otherwise (if it is meant: go test -run Describe ./internal/policy -update):\n%s", name, diff)
		}
	}
}
