package cli

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/quorate/quorate/internal/bls"
	"github.com/quorate/quorate/internal/eth"
	"github.com/quorate/quorate/internal/opsapi"
	"github.com/quorate/quorate/internal/signerapi"
)

// makeKeys opens a ceremony where the inventory is empty, and returns when
// there are keys.
func (c *devCluster) makeKeys(ctx context.Context, validators int) error {
	ops := c.nodes[0].ops
	keys, err := ops.Keys(ctx)
	if err != nil {
		return err
	}
	if len(keys) == 0 && validators > 0 {
		if err := c.ceremony(ctx, validators); err != nil {
			return err
		}
		if keys, err = ops.Keys(ctx); err != nil {
			return err
		}
	}
	for _, k := range keys {
		if k.State == "active" {
			c.pubkeys = append(c.pubkeys, k.PublicKey)
		}
	}
	return nil
}

// ceremonyTime is how long making keys may take, beside some time per key.
const ceremonyTime = 60 * time.Second

func (c *devCluster) ceremony(ctx context.Context, validators int) error {
	ctx, cancel := context.WithTimeout(ctx, ceremonyTime+time.Duration(validators)*100*time.Millisecond)
	defer cancel()
	ops := c.nodes[0].ops
	id, err := c.runningCeremony(ctx)
	if err != nil {
		return err
	}
	c.progress.begin("making keys that were never whole")
	if id == "" {
		if id, err = c.openCeremony(ctx, opsapi.OpenCeremony{Keys: validators, Purpose: "dev"}); err != nil {
			return fmt.Errorf("open ceremony: %w", err)
		}
	}
	done, err := watchCeremony(ctx, ops, id, func(one opsapi.Ceremony) {
		c.progress.at(phaseNumber(one.Phase), phaseNumber("done"), strings.TrimSpace(ceremonyLine(one)))
	})
	if err != nil {
		return fmt.Errorf("follow ceremony %s: %w", id, err)
	}
	if done.Phase != "done" {
		return fail(exitFailed, "quorate ceremony show "+id+" --address "+c.nodes[0].config.Listen.Ops, "ceremony %s was aborted with %s", id, plural(len(done.Faults), "fault"))
	}
	c.progress.end(fmt.Sprintf("%s, %s shares each", plural(done.Keys, "key"), shares(done.Threshold, len(done.Seats))))
	return nil
}

// openCeremony has the first node ask, or people where nodes may not.
func (c *devCluster) openCeremony(ctx context.Context, req opsapi.OpenCeremony) (string, error) {
	if c.isTeam() {
		return c.openAsTeam(ctx, req)
	}
	opened, err := c.nodes[0].ops.Open(ctx, req)
	return opened.ID, err
}

// runningCeremony finds one that an interrupted start left open.
func (c *devCluster) runningCeremony(ctx context.Context) (string, error) {
	all, err := c.nodes[0].ops.Ceremonies(ctx)
	if err != nil {
		return "", err
	}
	for _, one := range all {
		if one.Phase != "done" && one.Phase != "aborted" {
			return one.ID, nil
		}
	}
	return "", nil
}

// phaseNumber orders phases for the bar.
func phaseNumber(phase string) int {
	for i, p := range []string{"join", "deal", "verify", "answer", "freeze", "confirm", "publish", "done"} {
		if p == phase {
			return i + 1
		}
	}
	return 0
}

// proof is the signature that shows that the cluster works.
type proof struct {
	what      string
	url       string
	body      string
	signature bls.Signature
}

// proveTime is how long the first signature may take: peers are connected,
// but keys and shares may still be loading.
const proveTime = 30 * time.Second

// prove has the cluster sign over HTTP and verifies the result. It returns
// nil where there is no key.
func (c *devCluster) prove(ctx context.Context) (*proof, error) {
	if len(c.pubkeys) == 0 {
		return nil, nil
	}
	network, err := eth.NetworkFromConfig(c.genesis.Network)
	if err != nil {
		return nil, err
	}
	c.progress.begin("signing")
	p := &proof{url: "http://" + c.nodes[0].config.Listen.Signer + "/api/v1/eth2/sign/" + c.pubkeys[0]}
	p.what, p.body = harmlessDuty(network, c.pubkeys[0], time.Now())
	request, err := signerapi.ParseSignRequest([]byte(p.body), network)
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	root, err := request.Duty.SigningRoot(network)
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, proveTime)
	defer cancel()
	if p.signature, err = p.sign(ctx); err != nil {
		return nil, hinted(err, "the nodes' logs are "+c.nodes[0].logPath()+" and beside it")
	}
	key, err := parseKey(c.pubkeys[0])
	if err != nil {
		return nil, err
	}
	if !bls.Verify(key, root, p.signature) {
		return nil, fail(exitFailed, "", "sign: the signature does not verify under %s", c.pubkeys[0])
	}
	c.progress.end(p.what + ", verified")
	return p, nil
}

// harmlessDuty is a duty that no slashing rule speaks of: the RANDAO reveal
// of the present epoch. On a network whose genesis_validators_root is not
// known a builder registration, which has none in its domain, so that
// trying out the cluster does not pin a root.
func harmlessDuty(n *eth.Network, pubkey string, now time.Time) (what, body string) {
	if n.GenesisValidatorsRoot == nil {
		return "VALIDATOR_REGISTRATION", fmt.Sprintf(`{"type":"VALIDATOR_REGISTRATION","validator_registration":{"fee_recipient":"0x%040x","gas_limit":"30000000","timestamp":"%d","pubkey":"%s"}}`, 0, now.Unix(), pubkey)
	}
	slot, _ := n.SlotAt(now)
	epoch := n.EpochOf(slot)
	fork := n.Forks[n.ForkAt(epoch)]
	version := fork.Version
	return fmt.Sprintf("RANDAO_REVEAL of epoch %d", epoch), fmt.Sprintf(`{"type":"RANDAO_REVEAL","fork_info":{"fork":{"previous_version":"0x%x","current_version":"0x%x","epoch":"%d"},"genesis_validators_root":"0x%x"},"randao_reveal":{"epoch":"%d"}}`,
		version[:], version[:], fork.Epoch, n.GenesisValidatorsRoot[:], epoch)
}

// sign posts the request until the cluster answers with a signature.
func (p *proof) sign(ctx context.Context) (bls.Signature, error) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		sig, err := p.post(ctx)
		if err == nil || !errors.Is(err, errNotYet) {
			return sig, err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return sig, err
		}
	}
}

var errNotYet = errors.New("the cluster does not sign yet")

func (p *proof) post(ctx context.Context) (bls.Signature, error) {
	var none bls.Signature
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url, strings.NewReader(p.body))
	if err != nil {
		return none, fmt.Errorf("sign: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return none, fmt.Errorf("sign: %w: %w", errNotYet, err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
	if err != nil {
		return none, fmt.Errorf("sign: %w: %w", errNotYet, err)
	}
	raw = bytes.TrimSpace(raw)
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusNotFound, http.StatusServiceUnavailable:
		return none, fmt.Errorf("sign: %w: %s: %s", errNotYet, resp.Status, raw)
	default:
		return none, fmt.Errorf("sign: %s: %s", resp.Status, raw)
	}
	text := strings.TrimPrefix(string(raw), "0x")
	sig, err := hex.DecodeString(text)
	if err != nil {
		return none, fmt.Errorf("sign: read signature: %w", err)
	}
	return bls.ParseSignature(sig)
}

func parseKey(s string) (bls.PublicKey, error) {
	raw, err := hex.DecodeString(strings.TrimPrefix(s, "0x"))
	if err != nil {
		return bls.PublicKey{}, fmt.Errorf("read key: %w", err)
	}
	return bls.ParsePublicKey(raw)
}

// summary tells a person what there is now.
func (c *devCluster) summary(p *proof) {
	say := c.progress.say
	first := c.nodes[0].config.Listen
	say("\nCluster %s on %s", c.id, c.genesis.Network["CONFIG_NAME"])
	for _, n := range c.nodes {
		say("  %-7s signer http://%s  operator API http://%s  metrics http://%s/metrics", n.name, n.config.Listen.Signer, n.config.Listen.Ops, n.config.Listen.Metrics)
	}
	say("  state   %s", c.statePath())
	if c.isTeam() {
		say("  policy  %s", c.policyPath())
	}
	if p != nil {
		say("\nValidators")
		for i, k := range c.pubkeys {
			if i == maxShown {
				say("  and %d more: quorate key list --address %s", len(c.pubkeys)-i, first.Ops)
				break
			}
			say("  %s", k)
		}
		say("\nFirst signature (%s), verified:\n  0x%x", p.what, p.signature.Bytes())
		say("\nTry it:\n  curl -s -H 'Content-Type: application/json' -d '%s' %s", p.body, p.url)
	}
	c.sayPeople()
	c.walk()
	say("\nLook around:")
	say("  curl -s http://%s/api/v1/eth2/publicKeys", first.Signer)
	say("  curl -s http://%s/v1/status", first.Ops)
	say("  quorate audit list --address %s", first.Ops)
	say("\nCtrl-C stops it; the same command goes on from there.")
}

// maxShown is how many keys the summary lists.
const maxShown = 8
