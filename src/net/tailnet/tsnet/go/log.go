package main

import (
	"log"
	"os"
	"syscall"
)

// stderr writes lines to standard error from a goroutine of its own, and drops
// those that come while it waits for a reader. os.Stderr would hold up whoever
// logs, and end the process by SIGPIPE once its reader is gone.
var stderr = newLossy(1024)

type lossy chan []byte

func newLossy(lines int) lossy {
	queue := make(lossy, lines)
	go func() {
		for line := range queue {
			for len(line) > 0 {
				n, err := syscall.Write(2, line)
				if err == syscall.EINTR {
					continue
				}
				if err != nil {
					break
				}
				line = line[n:]
			}
		}
	}()
	return queue
}

func (l lossy) Write(line []byte) (int, error) {
	select {
	case l <- append([]byte(nil), line...):
	default:
	}
	return len(line), nil
}

func init() {
	// What libraries write by themselves.
	log.SetOutput(stderr)
	// A descriptor other than 2 is one whose loss ends nothing.
	if fd, err := syscall.Dup(2); err == nil {
		syscall.CloseOnExec(fd)
		os.Stderr = os.NewFile(uintptr(fd), "/dev/stderr")
	}
}
