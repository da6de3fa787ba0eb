package verify

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// A second implementation is worth something only if it is one: nothing of
// the product is linked, not even into tests.
func TestSharesNoCode(t *testing.T) {
	const product, own = "github.com/quorate/quorate", "github.com/quorate/quorate/verify"
	out, err := exec.Command("go", "list", "-deps", "-test", "./...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	packages := strings.Fields(string(out))
	if len(packages) < 50 {
		t.Fatalf("go list names %d packages", len(packages))
	}
	for _, p := range packages {
		if (p == product || strings.HasPrefix(p, product+"/")) && p != own && !strings.HasPrefix(p, own+"/") && !strings.HasPrefix(p, own+".") && !strings.HasPrefix(p, own+"_test") {
			t.Errorf("%s is of the product", p)
		}
		if p == "net" || strings.HasPrefix(p, "net/http") {
			t.Errorf("%s: what checks evidence asks nobody", p)
		}
	}
	mod, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mod)) {
		if strings.Contains(line, product) && line != "module "+own+"\n" {
			t.Errorf("go.mod: %s", line)
		}
	}
}
