package policy

import _ "embed"

//go:embed documents/team.yaml
var team string

//go:embed documents/dev.yaml
var dev string

// Team returns the document that a cluster of several operators starts from.
func Team() []byte { return []byte(team) }

// Dev returns the document of a cluster for development: nodes and custodians
// may do everything at once.
func Dev() []byte { return []byte(dev) }
