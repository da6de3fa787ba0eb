package slashing

// oracle is the naive judge: it keeps every message ever signed and compares
// each new one with all of them, by the two conditions of the consensus
// specs' is_slashable_attestation_data and of ProposerSlashing.
type oracle struct {
	blocks []Block
	votes  []Attestation
}

// sign adds a message and returns an older one with which it is slashable.
func (o *oracle) sign(f Facts) (conflict Facts) {
	switch f := f.(type) {
	case Block:
		for _, b := range o.blocks {
			if b.Slot == f.Slot && b.Root != f.Root {
				return b
			}
		}
		o.blocks = append(o.blocks, f)
	case Attestation:
		for _, v := range o.votes {
			if slashableVotes(v, f) || slashableVotes(f, v) {
				return v
			}
		}
		o.votes = append(o.votes, f)
	}
	return nil
}

func slashableVotes(a, b Attestation) bool {
	double := a != b && a.Target == b.Target
	surround := a.Source < b.Source && b.Target < a.Target
	return double || surround
}
