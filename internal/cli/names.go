package cli

import "strings"

// minPrefix is how much of an id or a public key names it, where no other one
// begins so.
const minPrefix = 4

// named completes the beginning of an id or a public key from what a node lists,
// to look at it. What is signed or handed over is named in whole: a node does not
// choose that.
func named(text string, digits int, hint string, list func() ([]string, error)) (string, error) {
	begin := strings.ToLower(strings.TrimSuffix(strings.TrimPrefix(text, "0x"), "…")) // as tables cut them
	if len(begin) >= digits || len(begin) < minPrefix || strings.Trim(begin, "0123456789abcdef") != "" {
		return text, nil // the node says what is wrong with it
	}
	all, err := list()
	if err != nil {
		return "", err
	}
	found := ""
	for _, one := range all {
		switch {
		case !strings.HasPrefix(strings.TrimPrefix(one, "0x"), begin):
		case found != "":
			return "", fail(exitBadUse, "give more of it", "more than one begins with %s", text)
		default:
			found = one
		}
	}
	if found == "" {
		return "", fail(exitNotFound, hint, "none begins with %s", text)
	}
	return found, nil
}
