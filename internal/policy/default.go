package policy

import _ "embed"

//go:embed documents/team.yaml
var team string

//go:embed documents/dev.yaml
var dev string

//go:embed documents/operators.yaml
var operatorsDocument string

// Operators returns the document of a cluster whose nodes do by themselves what
// holds no power over funds.
func Operators() []byte { return []byte(operatorsDocument) }

// Team returns the document that a cluster of several operators starts from.
func Team() []byte { return []byte(team) }

// Dev returns the document of a cluster for development: nodes and custodians
// may do everything at once.
func Dev() []byte { return []byte(dev) }
