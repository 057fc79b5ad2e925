package main

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// portFile names the UDP port that the node had when it ran last. At another
// one, a peer that talked to the node just before does not find it for some ten
// seconds after a restart.
const portFile = "udp-port"

// lastPort is zero, for any port, where none is known.
func lastPort(dir string) uint16 {
	text, err := os.ReadFile(filepath.Join(dir, portFile))
	if err != nil {
		return 0
	}
	port, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 16)
	if err != nil {
		return 0
	}
	return uint16(port)
}

// keepPort notes the port for the next start, which can do without it.
func keepPort(dir string, port uint16) {
	if port == 0 || port == lastPort(dir) {
		return
	}
	text := strconv.FormatUint(uint64(port), 10) + "\n"
	os.WriteFile(filepath.Join(dir, portFile), []byte(text), 0o600)
}
