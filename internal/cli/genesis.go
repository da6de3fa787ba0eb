package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/durable"
	"github.com/quorate/quorate/internal/eth"
	"github.com/quorate/quorate/internal/ledger"
	"github.com/quorate/quorate/internal/policy"
	"github.com/quorate/quorate/internal/wire"
)

func (a *app) genesisCommand() *cobra.Command {
	var network, out, namespace, history, policyFlag string
	var members []string
	c := &cobra.Command{Use: "genesis --network NAME|FILE.yaml NODE.json...", Short: "Assemble the genesis document that all operators start from",
		Long: `Assemble the genesis document from what the operators' ` + "`quorate node init`" + ` wrote.
One operator runs this and sends the result to the others, who compare its
cluster id before they join. Every byte of it counts.

--member names the people who begin: whoever may change the policy enrols the
others later. The file holds what the policy knows of one of them, and as keys
what "quorate member keygen" printed:

  {"id": "ana", "name": "Ana Lima", "operator": "acme", "region": "de",
   "roles": ["custodian"], "keys": ["0x01…"]}`,
		Example: `  quorate node genesis --network mainnet --member ana.json berlin.json oslo.json lyon.json porto.json`,
		Args:    cobra.MinimumNArgs(1),
		RunE: a.run(func(_ context.Context, args []string) error {
			rules, err := readPolicy(policyFlag)
			if err != nil {
				return err
			}
			g := action.Genesis{Version: 1, Time: time.Now().UTC().Truncate(time.Second), Namespace: namespace, Policy: string(rules), ImportHistory: history}
			if g.Network, err = readNetwork(network); err != nil {
				return err
			}
			if g.Nodes, err = readAll[action.NodeRecord](args); err != nil {
				return err
			}
			if g.Members, err = readAll[action.MemberRecord](members); err != nil {
				return err
			}
			doc, id, err := encodeGenesis(g)
			if err != nil {
				return err
			}
			if err := ledger.LockedOut(&g); err != nil {
				return fail(exitBadUse, "name with --member who may; quorate node genesis --help shows such a file", "assemble genesis: %w", err)
			}
			if err := writeNew(out, doc, 0o644); err != nil {
				return hinted(err, "a genesis is never overwritten; choose another --out")
			}
			return a.print(map[string]string{"cluster": id.String(), "genesis": out}, func(t *table) {
				t.row("cluster", id)
				t.row("written to", out)
				t.row("on every node:", "quorate node join --home HOME --genesis "+out)
			})
		})}
	c.Flags().StringVar(&network, "network", "mainnet", "name of a public network ("+strings.Join(eth.NetworkNames(), ", ")+"), or a YAML file with the consensus-specs' configuration keys")
	c.Flags().StringVar(&out, "out", "genesis.json", "file to write")
	c.Flags().StringVar(&namespace, "namespace", "root", "first component of every ledger path")
	c.Flags().StringVar(&history, "history", action.HistoryRefuse, "what a key that is imported without slashing history may sign: refuse (nothing slashable), now (nothing up to the present), none (as if it had never signed; for tests)")
	c.Flags().StringArrayVar(&members, "member", nil, "file with the record of a person who takes part; may be repeated")
	c.Flags().StringVar(&policyFlag, "policy", "operators", "who may do what, and who has to agree: operators, team, dev, or a file")
	return c
}

// encodeGenesis checks a genesis as every node will and returns its bytes.
func encodeGenesis(g action.Genesis) ([]byte, action.ClusterID, error) {
	slices.SortFunc(g.Nodes, func(a, b action.NodeRecord) int { return strings.Compare(a.Name, b.Name) })
	doc, err := json.MarshalIndent(g, "", "  ")
	if err != nil {
		return nil, action.ClusterID{}, fmt.Errorf("encode genesis: %w", err)
	}
	doc = append(doc, '\n')
	_, id, err := action.ParseGenesis(doc)
	if err != nil {
		return nil, id, err
	}
	if _, err := action.DefaultThreshold(len(g.Nodes)); err != nil {
		return nil, id, fail(exitBadUse, "4 nodes are the fewest that survive a faulty one", "assemble genesis: %w", err)
	}
	return doc, id, nil
}

// readPolicy returns a document that comes with Quorate, or a file's, once it
// compiles.
func readPolicy(nameOrFile string) ([]byte, error) {
	switch nameOrFile {
	case "team":
		return policy.Team(), nil
	case "operators":
		return policy.Operators(), nil
	case "dev":
		return policy.Dev(), nil
	}
	doc, err := durable.ReadFile(durable.OS{}, nameOrFile, wire.MaxPolicy)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fail(exitBadUse, "--policy takes team, operators, dev, or a file", "policy %q is neither a known name nor a file", nameOrFile)
	}
	if err != nil {
		return nil, err
	}
	if _, err := policy.Compile(doc); err != nil {
		return nil, fail(exitBadUse, "", "read policy %s: %w", nameOrFile, err)
	}
	return doc, nil
}

// readAll reads one JSON record from each file.
func readAll[T any](paths []string) ([]T, error) {
	out := []T{}
	for _, path := range paths {
		raw, err := durable.ReadFile(durable.OS{}, path, wire.MaxGenesis)
		if err != nil {
			return nil, err
		}
		var v T
		dec := json.NewDecoder(bytes.NewReader(raw))
		dec.DisallowUnknownFields()
		err = dec.Decode(&v)
		if err == nil && dec.More() {
			err = errors.New("data after the record")
		}
		if err != nil {
			return nil, fail(exitBadUse, "", "read %s: %w", path, err)
		}
		out = append(out, v)
	}
	return out, nil
}

// maxNetworkFile bounds a network file; mainnet's is 12 KiB.
const maxNetworkFile = 256 << 10

// readNetwork returns the configuration of a network that is known by name,
// or that a YAML file describes.
func readNetwork(nameOrFile string) (map[string]string, error) {
	if slices.Contains(eth.NetworkNames(), nameOrFile) {
		n, err := eth.LookupNetwork(nameOrFile)
		if err != nil {
			return nil, err
		}
		return n.Config(), nil
	}
	raw, err := durable.ReadFile(durable.OS{}, nameOrFile, maxNetworkFile)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fail(exitBadUse, "--network takes "+strings.Join(eth.NetworkNames(), ", ")+", or a YAML file", "network %q is neither a known name nor a file", nameOrFile)
	}
	if err != nil {
		return nil, err
	}
	config, err := parseNetwork(raw)
	if err != nil {
		return nil, fmt.Errorf("read network %s: %w", nameOrFile, err)
	}
	return config, nil
}

// parseNetwork keeps values as they are written: 0x01017000 is a version, not
// a number. Keys that hold lists (BLOB_SCHEDULE) bear on no signing root.
func parseNetwork(raw []byte) (map[string]string, error) {
	var doc map[string]yaml.Node
	if err := yaml.Unmarshal(raw, &doc); err != nil {
		return nil, err
	}
	config := map[string]string{}
	for key, value := range doc {
		if value.Kind == yaml.ScalarNode {
			config[key] = value.Value
		}
	}
	n, err := eth.NetworkFromConfig(config)
	if err != nil {
		return nil, err
	}
	return n.Config(), nil
}
