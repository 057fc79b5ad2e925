// Says what it reads in bodies: each comes behind its length, four bytes. It reads as servers in
// Go do, into a struct, whose fields are found without regard to case.
package main

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
)

type request struct {
	Model     json.RawMessage `json:"model"`
	Stream    json.RawMessage `json:"stream"`
	MaxTokens json.RawMessage `json:"max_tokens"`
}

func text(value json.RawMessage) string {
	var read *string
	if value == nil {
		return "-"
	}
	if json.Unmarshal(value, &read) != nil {
		return "!"
	}
	if read == nil {
		return "-"
	}
	return hex.EncodeToString([]byte(*read))
}

func flag(value json.RawMessage) string {
	switch string(value) {
	case "", "null":
		return "-"
	case "true", "false":
		return string(value)
	}
	return "!"
}

func number(value json.RawMessage) string {
	switch {
	case value == nil, string(value) == "null":
		return "-"
	case strings.ContainsAny(string(value[:1]), "-0123456789"):
		return string(value)
	}
	return "!"
}

func main() {
	in, out := bufio.NewReader(os.Stdin), bufio.NewWriter(os.Stdout)
	for {
		var length uint32
		if in.Buffered() == 0 {
			out.Flush()
		}
		if binary.Read(in, binary.BigEndian, &length) != nil {
			out.Flush()
			return
		}
		body := make([]byte, length)
		if _, err := io.ReadFull(in, body); err != nil {
			return
		}
		var seen request
		if json.Unmarshal(body, &seen) != nil {
			fmt.Fprintln(out, "x")
			continue
		}
		fmt.Fprintf(out, "%s|%s|%s\n", text(seen.Model), flag(seen.Stream), number(seen.MaxTokens))
	}
}
