package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tailscale.com/types/key"
	"tailscale.com/util/vizerror"
)

// joined is the state of a node that has joined.
func joined(t *testing.T) map[string][]byte {
	t.Helper()
	text := func(value any) []byte {
		text, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	machine, err := key.NewMachine().MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	return map[string][]byte{
		"_machinekey":      machine,
		"_current-profile": []byte("profile-1a2b"),
		"_profiles":        text(map[string]any{"1a2b": map[string]string{"ID": "1a2b"}}),
		"profile-1a2b":     text(map[string]any{"Config": map[string]any{"PrivateNodeKey": key.NewNode()}}),
	}
}

func TestDamagedStateIsNotTakenForANewNode(t *testing.T) {
	whole, err := json.MarshalIndent(joined(t), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	with := func(name, value string) string {
		state := joined(t)
		state[name] = []byte(value)
		text, _ := json.Marshal(state)
		return string(text)
	}
	without := func(name string) string {
		state := joined(t)
		delete(state, name)
		text, _ := json.Marshal(state)
		return string(text)
	}
	for _, c := range []struct {
		name, text string
		known      bool
		wrong      string
	}{
		{"a node that has joined", string(whole), true, ""},
		{"one that has not", "{}", false, ""},
		{"one with only its machine key", without("_current-profile"), false, ""},
		{"one that was signed out", without("profile-1a2b"), false, ""},
		{"one without a node key", with("profile-1a2b", `{"Config":{}}`), false, ""},
		{"empty", "", false, "empty"},
		{"torn", string(whole[:len(whole)/2]), false, "unexpected end"},
		{"zeros", strings.Repeat("\x00", 512), false, "invalid character"},
		{"null", "null", false, "no object"},
		{"a list", "[]", false, "cannot unmarshal"},
		{"a torn machine key", with("_machinekey", "privkey:12"), false, "machine key"},
		{"zeros for a machine key", with("_machinekey", "privkey:"+strings.Repeat("0", 64)), false, "zero"},
		{"a torn profile", with("profile-1a2b", `{"Config":{"Priv`), false, "the profile"},
		{"a torn list of profiles", with("_profiles", `{"1a`), false, "profiles"},
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, stateFile)
		if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		known, err := hasIdentity(dir)
		if known != c.known || (err == nil) != (c.wrong == "") {
			t.Errorf("%s: %v, %v", c.name, known, err)
		}
		if err != nil && !(strings.Contains(err.Error(), c.wrong) && strings.Contains(err.Error(), path)) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	if known, err := hasIdentity(t.TempDir()); known || err != nil {
		t.Errorf("no file: %v, %v", known, err)
	}
}

func TestFilesThatHoldNothingAreMadeAgain(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, logFile)
	for _, text := range []string{"", "{", strings.Repeat("\x00", 64), "{}", `{"Collection":"c"}`} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if dropped := dropDamaged(dir); len(dropped) != 1 || dropped[0] != path {
			t.Errorf("%q: %v", text, dropped)
		}
	}
	if dropped := dropDamaged(dir); dropped != nil {
		t.Errorf("without a file: %v", dropped)
	}
}

func TestTroubleIsOfTheRightKind(t *testing.T) {
	for _, c := range []struct {
		err  error
		kind string
	}{
		{errors.New("register request: http 401: authkey already used"), troubleRefused},
		{vizerror.New("requested tags [tag:x] are invalid or not permitted"), troubleRefused},
		{vizerror.WrapWithMessage(errors.New("x"), "node registration rate limited; will retry after 5s"), troubleFailed},
		{errors.New("fetch control key: connection refused"), troubleFailed},
		{errors.New("register request: Post: EOF"), troubleFailed},
		{fmt.Errorf("PollNetMap: %w", errors.New("initial fetch failed 404: node not found")), troubleUnknown},
		{errors.New("PollNetMap: initial fetch failed 401: no"), troubleRefused},
		{errors.New("PollNetMap: initial fetch failed 502: "), troubleFailed},
	} {
		if found := troubleOf(c.err); found.Kind != c.kind || found.Message != c.err.Error() {
			t.Errorf("%v: %v", c.err, found)
		}
	}
}
