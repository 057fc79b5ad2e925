package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"tailscale.com/ipn"
	"tailscale.com/tailcfg"
	"tailscale.com/types/key"
)

const (
	keyTimeout = 10 * time.Second
	// Between two looks at the control server's key, and between the loss of
	// the map poll and the first.
	keyInterval = 10 * time.Second
)

// keyWatch finds out that the control server has another key than the node
// knows: Tailscale's code asks for the key once and then only sees that nobody
// answers.
type keyWatch struct {
	url   string
	known key.MachinePublic
	next  time.Time
	asked chan key.MachinePublic
}

func newKeyWatch(o options) *keyWatch {
	base := o.ControlURL
	if base == "" {
		base = ipn.DefaultControlURL
	}
	url := fmt.Sprintf("%s/key?v=%d", strings.TrimSuffix(base, "/"), tailcfg.CurrentCapabilityVersion)
	return &keyWatch{url: url, asked: make(chan key.MachinePublic, 1)}
}

// look asks for the key while the node is in a poll and it isn't known yet, and
// again while the node is in none. It returns the other key once there is one.
func (k *keyWatch) look(ctx context.Context, inPoll bool, now time.Time) (other key.MachinePublic) {
	select {
	case found := <-k.asked:
		switch {
		case found.IsZero():
		case inPoll:
			k.known = found
		case !k.known.IsZero() && found != k.known:
			// The next session learns it by itself.
			k.known = key.MachinePublic{}
			return found
		}
	default:
	}
	if inPoll && !k.known.IsZero() {
		k.next = now.Add(keyInterval)
		return other
	}
	if now.Before(k.next) || !inPoll && k.known.IsZero() {
		return other
	}
	k.next = now.Add(keyInterval)
	go func() {
		found, err := k.fetch(ctx)
		if err != nil {
			found = key.MachinePublic{}
		}
		select {
		case k.asked <- found:
		default:
		}
	}()
	return other
}

func (k *keyWatch) fetch(ctx context.Context) (found key.MachinePublic, err error) {
	ctx, cancel := context.WithTimeout(ctx, keyTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, k.url, nil)
	if err != nil {
		return found, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return found, err
	}
	defer response.Body.Close()
	var keys tailcfg.OverTLSPublicKeyResponse
	if err := json.NewDecoder(io.LimitReader(response.Body, 64<<10)).Decode(&keys); err != nil {
		return found, err
	}
	if response.StatusCode != http.StatusOK || keys.PublicKey.IsZero() {
		return found, fmt.Errorf("no key: %s", response.Status)
	}
	return keys.PublicKey, nil
}
