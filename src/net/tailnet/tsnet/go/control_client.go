package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"tailscale.com/types/key"
	"tailscale.com/util/clientmetric"
	"tailscale.com/util/vizerror"
)

// Kinds of trouble with the control server.
const (
	// troubleFailed: it can't be reached, or its answer makes no sense.
	troubleFailed = "failed"
	// troubleRefused: it doesn't let the node in.
	troubleRefused = "refused"
	// troubleUnknown: it doesn't know a node that has joined.
	troubleUnknown = "unknown"
	// troubleKeyChanged: it has another key than it had.
	troubleKeyChanged = "key_changed"
)

// trouble is the last failure of the control client, in the control server's
// own words where it has any.
type trouble struct {
	Kind    string `json:"kind"`
	Message string `json:"message"`
}

// controlClient is what is known of the talk with the control server. Tailscale
// tells nobody of most failures but its log, so that is where they are read: by
// the error among a line's arguments, not by its text.
type controlClient struct {
	mu     sync.Mutex
	poll   *trouble
	update *trouble
	// key is the other key of the control server, while the node is in no poll.
	key     *trouble
	inPoll  bool
	heardAt time.Time
	heard   int64
}

// logged looks at a line of Tailscale's log before it is formatted.
func (c *controlClient) logged(format string, args []any) {
	last := func() error {
		if len(args) == 0 {
			return nil
		}
		err, _ := args[len(args)-1].(error)
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case strings.HasSuffix(format, "Received error: %v"):
		if err := last(); err != nil && !errors.Is(err, context.Canceled) {
			c.poll = troubleOf(err)
		}
	case strings.HasSuffix(format, "lite map update error after %v: %v"):
		if err := last(); err != nil && !errors.Is(err, context.Canceled) {
			c.update = troubleOf(err)
		}
	case strings.HasSuffix(format, "successful lite map update in %v"):
		c.update = nil
	}
}

func troubleOf(err error) *trouble {
	text := err.Error()
	kind := troubleFailed
	_, words := vizerror.As(err)
	switch {
	case strings.Contains(text, "rate limited"):
	// A poll of the map, or an update of what the server knows of the node.
	case strings.Contains(text, "initial fetch failed 404"), strings.Contains(text, "initial fetch failed 410"):
		kind = troubleUnknown
	case words, strings.Contains(text, "initial fetch failed 4"), strings.HasPrefix(text, "register request: http 4"):
		kind = troubleRefused
	}
	return &trouble{Kind: kind, Message: text}
}

// mapMessages counts the messages of map polls, keep-alives included. It counts
// for the process: with several nodes in it, one that is in a poll and hears
// nothing is only found out when Tailscale gives the poll up, after two minutes.
var mapMessages = sync.OnceValue(func() *clientmetric.Metric {
	for _, metric := range clientmetric.Metrics() {
		if metric.Name() == "controlclient_map_response_message" {
			return metric
		}
	}
	return nil
})

// look notes whether the control server has said anything since the last look.
func (c *controlClient) look(inPoll bool, now time.Time) {
	var heard int64
	if metric := mapMessages(); metric != nil {
		heard = metric.Value()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if inPoll && (!c.inPoll || heard != c.heard) {
		c.heardAt = now
		c.poll, c.key = nil, nil
	}
	c.inPoll, c.heard = inPoll, heard
}

// keyChanged notes that the control server has another key.
func (c *controlClient) keyChanged(other key.MachinePublic) {
	c.mu.Lock()
	defer c.mu.Unlock()
	message := fmt.Sprintf("the control server has another key than before: %s", other)
	c.key = &trouble{Kind: troubleKeyChanged, Message: message}
}

// probed notes what a probe has found out; nil if the node is known.
func (c *controlClient) probed(found *trouble) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.update = found
}

// forget drops what was known of a session that ends.
func (c *controlClient) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.poll, c.update, c.key = nil, nil, nil
}

// tell writes what is known into a status.
func (c *controlClient) tell(s *status) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s.InPoll = c.inPoll
	if !c.heardAt.IsZero() {
		s.HeardAt = c.heardAt.UnixMilli()
	}
	switch {
	case c.key != nil:
		s.Trouble = c.key
	case c.poll != nil:
		s.Trouble = c.poll
	// An update that failed otherwise is sent again, and matters to nobody here.
	case c.update != nil && c.update.Kind == troubleUnknown:
		s.Trouble = c.update
	}
}
