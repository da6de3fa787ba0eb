package cli

import (
	"cmp"
	"context"
	"fmt"
	"net"

	"github.com/spf13/cobra"

	"github.com/quorate/quorate/internal/durable"
	"github.com/quorate/quorate/internal/wire"
)

func (a *app) nodeCommand() *cobra.Command {
	return noun("node", "Nodes of a cluster", a.nodeInit(), a.genesisCommand(), a.nodeJoin(), a.nodeRun())
}

func (a *app) nodeInit() *cobra.Command {
	var h, host, binary string
	var base int
	n := newNode{Config: config{Log: "info"}}
	c := &cobra.Command{Use: "init", Short: "Create a node's home, and its record for the genesis", Args: cobra.NoArgs,
		Long: `Create a node's home: its keys, its configuration, and node.json, which holds no
secret and goes to whoever assembles the genesis. With -o json it is printed, too.`,
		Example: `  quorate node init --home /var/lib/quorate --name berlin --operator acme --region de \
    --consensus-address berlin.example:9004 --peer-address berlin.example:9005`}
	f := c.Flags()
	c.RunE = a.run(func(context.Context, []string) error {
		var err error
		if n.CustodyBinary, err = custodyBinary(binary); err != nil {
			return err
		}
		n.Config.Listen = listenAt(cmp.Or(host, loopback), base)
		if host == "" {
			n.Config.Listen.Consensus = reachable(n.Config.Listen.Consensus, n.Consensus)
			n.Config.Listen.Peer = reachable(n.Config.Listen.Peer, n.Peer)
		}
		n.Config.Custody.Binary = binary
		rec, err := initHome(home(h), n)
		if err != nil {
			return err
		}
		return a.print(rec, func(t *table) {
			l := n.Config.Listen
			t.row("node", fmt.Sprintf("%s of %s, in %s", rec.Name, rec.Operator, rec.Region))
			t.row("listens", fmt.Sprintf("signer %s, metrics %s, operator API %s; other nodes: consensus %s, peers %s", l.Signer, l.Metrics, l.Ops, l.Consensus, l.Peer))
			t.row("", home(h).config()+" says where, and may be changed")
			t.row("send", home(h).record()+" to whoever runs quorate node genesis; it holds no secret")
			t.row("then:", "quorate node join --home "+h+" --genesis genesis.json")
		})
	})
	f.StringVar(&h, "home", "", "directory to create")
	f.StringVar(&n.Name, "name", "", "name of the node in the cluster")
	f.StringVar(&n.Operator, "operator", "", "who runs it")
	f.StringVar(&n.Region, "region", "", "where it stands")
	f.StringVar(&n.Consensus, "consensus-address", "", "host:port where other nodes reach its consensus engine")
	f.StringVar(&n.Peer, "peer-address", "", "host:port where other nodes ask it for partial signatures")
	f.StringVar(&host, "listen", "", "address that all its servers listen on (default: "+loopback+", and for other nodes every address)")
	f.IntVar(&base, "base-port", 9000, "first of its ports: +0 signer, +1 metrics, +3 operator API, +4 consensus, +5 peers")
	f.StringVar(&binary, "custody-binary", "", "quorate-custody (default: beside this program, or in PATH)")
	for _, name := range []string{"home", "name", "operator", "region", "consensus-address", "peer-address"} {
		c.MarkFlagRequired(name) //nolint:errcheck // the flag is defined above
	}
	return c
}

// loopback is where servers listen that nobody has asked to be reachable.
const loopback = "127.0.0.1"

// reachable is where a server listens that other nodes find at an address: on all
// interfaces, unless that address is this machine's own.
func reachable(listen, address string) string {
	_, port, err := net.SplitHostPort(listen)
	host, _, herr := net.SplitHostPort(address)
	if ip := net.ParseIP(host); err != nil || herr != nil || host == "localhost" || ip != nil && ip.IsLoopback() {
		return listen
	}
	return net.JoinHostPort("0.0.0.0", port)
}

func (a *app) nodeJoin() *cobra.Command {
	var h, genesis, binary string
	c := &cobra.Command{Use: "join", Short: "Give a node its genesis and bind its custody process to the cluster", Args: cobra.NoArgs,
		RunE: a.run(func(context.Context, []string) error {
			binary, err := custodyBinary(binary)
			if err != nil {
				return err
			}
			doc, err := durable.ReadFile(durable.OS{}, genesis, wire.MaxGenesis)
			if err != nil {
				return hinted(err, "quorate node genesis --help")
			}
			id, err := joinCluster(home(h), doc, binary)
			if err != nil {
				return hinted(err, "quorate node genesis makes the document; every node gets the same")
			}
			return a.print(map[string]string{"cluster": id.String()}, func(t *table) {
				t.row("joined cluster", id)
				t.row("compare this id with the other operators, then:", "quorate node run --home "+h)
			})
		})}
	c.Flags().StringVar(&h, "home", "", "the node's home")
	c.Flags().StringVar(&genesis, "genesis", "", "genesis document")
	c.Flags().StringVar(&binary, "custody-binary", "", "quorate-custody (default: beside this program, or in PATH)")
	c.MarkFlagRequired("home")    //nolint:errcheck // the flag is defined above
	c.MarkFlagRequired("genesis") //nolint:errcheck // the flag is defined above
	return c
}

func (a *app) nodeRun() *cobra.Command {
	var h, binary string
	c := &cobra.Command{Use: "run", Short: "Run a node until it is told to stop", Args: cobra.NoArgs,
		RunE: a.run(func(ctx context.Context, _ []string) error { return runNode(ctx, home(h), binary, a.stderr) })}
	c.Flags().StringVar(&h, "home", "", "the node's home")
	c.Flags().StringVar(&binary, "custody-binary", "", "quorate-custody (default: as config.yaml says, else beside this program, else in PATH)")
	c.MarkFlagRequired("home") //nolint:errcheck // the flag is defined above
	return c
}

// custodyBinary takes what a flag or the configuration names, or finds it.
func custodyBinary(named string) (string, error) {
	if named == "" {
		found, ok := findCustody()
		if !ok {
			return "", errNoCustody()
		}
		return found, nil
	}
	if !executable(named) {
		return "", fail(exitBadUse, "", "%s is no program", named)
	}
	return named, nil
}
