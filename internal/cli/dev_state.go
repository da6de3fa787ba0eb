package cli

import (
	"encoding/json"
	"fmt"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/durable"
)

// devState is DIR/dev.json, by which programs find a running cluster.
type devState struct {
	Cluster         string         `json:"cluster"`
	Network         string         `json:"network"`
	Threshold       int            `json:"threshold"`
	Nodes           []devStateNode `json:"nodes"`
	Validators      []string       `json:"validators"`
	KeymanagerToken string         `json:"keymanager_token_file"`

	// AdminKey is a custodian's key file, and People everybody's, by member.
	AdminKey string            `json:"admin_key,omitempty"`
	People   map[string]string `json:"people,omitempty"`
}

type devStateNode struct {
	Name        string         `json:"name"`
	PID         int            `json:"pid"`
	CustodyPIDs map[string]int `json:"custody_pids"`
	Home        string         `json:"home"`
	Signer      string         `json:"signer"`
	Ops         string         `json:"ops"`
	Metrics     string         `json:"metrics"`
}

// writeState replaces DIR/dev.json by what is true now.
func (c *devCluster) writeState() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	th, err := action.DefaultThreshold(len(c.nodes))
	if err != nil {
		return err
	}
	s := devState{
		Cluster: c.id.String(), Network: c.genesis.Network["CONFIG_NAME"], Threshold: th.T(),
		Validators: c.pubkeys, KeymanagerToken: c.nodes[0].home.keymanagerToken(),
	}
	for _, m := range c.people() {
		if s.People == nil {
			s.AdminKey, s.People = c.keyFile(m.ID), map[string]string{}
		}
		s.People[m.ID] = c.keyFile(m.ID)
	}
	for _, n := range c.nodes {
		l := n.config.Listen
		node := devStateNode{Name: n.name, PID: n.child.pid, CustodyPIDs: map[string]int{}, Home: string(n.home),
			Signer: "http://" + l.Signer, Ops: "http://" + l.Ops, Metrics: "http://" + l.Metrics}
		for _, cu := range n.status.Custody {
			node.CustodyPIDs[cu.Domain] = cu.PID
		}
		s.Nodes = append(s.Nodes, node)
	}
	doc, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	return durable.WriteOSFile(c.statePath(), append(doc, '\n'), 0o600)
}
