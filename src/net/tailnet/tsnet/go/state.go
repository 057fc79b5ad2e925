package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"tailscale.com/ipn"
	"tailscale.com/types/key"
	"tailscale.com/types/logid"
)

const (
	// stateFile holds the node's keys: it is the node.
	stateFile = "tailscaled.state"
	// logFile holds a number for logs, which are never sent.
	logFile = "tailscaled.log.conf"
)

// hasIdentity reports whether a node has joined with the state in dir. Damaged
// state is an error: Tailscale takes an empty file for a missing one, and the
// gateway would come back as another node under another name.
func hasIdentity(dir string) (bool, error) {
	path := filepath.Join(dir, stateFile)
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	known, err := readState(text)
	if err != nil {
		return false, fmt.Errorf("the node's state in %s is damaged (%w); put a backup in its place, or remove "+
			"the file: Iris then joins as a new node, which needs an auth key or a sign-in, and gets another address, "+
			"and another name unless you remove the old node from the tailnet first", path, err)
	}
	return known, nil
}

func readState(text []byte) (known bool, err error) {
	if len(text) == 0 {
		return false, errors.New("the file is empty")
	}
	var state map[ipn.StateKey][]byte
	if err := json.Unmarshal(text, &state); err != nil {
		return false, err
	}
	if state == nil {
		return false, errors.New("it holds no object")
	}
	if text, ok := state[ipn.MachineKeyStateKey]; ok {
		var machine key.MachinePrivate
		if err := machine.UnmarshalText(text); err != nil {
			return false, fmt.Errorf("the machine key: %w", err)
		}
		if machine.IsZero() {
			return false, errors.New("the machine key is zero")
		}
	}
	if text := state[ipn.KnownProfilesStateKey]; len(text) > 0 {
		var profiles map[ipn.ProfileID]json.RawMessage
		if err := json.Unmarshal(text, &profiles); err != nil {
			return false, fmt.Errorf("the list of profiles: %w", err)
		}
	}
	// A node that was signed out keeps the name of its profile, and no profile.
	text = state[ipn.StateKey(state[ipn.CurrentProfileStateKey])]
	if len(text) == 0 {
		return false, nil
	}
	var profile struct {
		Config *struct{ PrivateNodeKey key.NodePrivate }
	}
	if err := json.Unmarshal(text, &profile); err != nil {
		return false, fmt.Errorf("the profile: %w", err)
	}
	return profile.Config != nil && !profile.Config.PrivateNodeKey.IsZero(), nil
}

// dropDamaged removes what can't be read of the files that hold nothing worth
// keeping; tsnet would not start with them.
func dropDamaged(dir string) (dropped []string) {
	path := filepath.Join(dir, logFile)
	text, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	var config struct {
		Collection string
		PrivateID  logid.PrivateID
		PublicID   logid.PublicID
	}
	err = json.Unmarshal(text, &config)
	if err == nil && config.Collection != "" && !config.PrivateID.IsZero() && config.PrivateID.Public() == config.PublicID {
		return nil
	}
	if os.Remove(path) == nil {
		dropped = append(dropped, path)
	}
	return dropped
}
