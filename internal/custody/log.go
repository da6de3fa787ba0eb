package custody

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/slashing"
)

// ReadLog hands out every signature that the log in a home holds, and every
// other change of its record, oldest first; see slashing.ReadLog. It needs no
// secret and no running process.
func ReadLog(home string, visit func(slashing.Logged)) error {
	doc, err := os.ReadFile(filepath.Join(home, fileGenesis))
	if err != nil {
		return fmt.Errorf("read custody's log: %w (hint: quorate-custody bind gives a home its genesis)", err)
	}
	g, cluster, err := action.ParseGenesis(doc)
	if err != nil {
		return fmt.Errorf("read custody's log: %w", err)
	}
	network, err := g.EthNetwork()
	if err != nil {
		return fmt.Errorf("read custody's log: %w", err)
	}
	if err := slashing.ReadLog(slashingConfig(home, cluster, action.DomainValidator, network), visit); err != nil {
		return fmt.Errorf("read custody's log: %w", err)
	}
	return nil
}
