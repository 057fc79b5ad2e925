package main

import (
	"fmt"
	"log"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

const asked = "IRIS_TEST_LOGS"

func TestMain(m *testing.M) {
	if os.Getenv(asked) == "" {
		os.Exit(m.Run())
	}
	// More than a pipe holds.
	line := strings.Repeat("x", 1000)
	for range 5000 {
		log.Print(line)
	}
	for range 10 {
		fmt.Fprintln(os.Stderr, "gone")
		time.Sleep(time.Millisecond)
	}
	os.Exit(7)
}

// logs runs this program with a pipe as its standard error, and says how it ended.
func logs(t *testing.T, closed bool) string {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	command := exec.Command(os.Args[0])
	command.Env = append(os.Environ(), asked+"=1")
	command.Stderr = w
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	if closed {
		r.Close()
	} else {
		// What a library writes past the log may wait; the log itself may not.
		go func() {
			time.Sleep(time.Second)
			buffer := make([]byte, 1<<16)
			for {
				if _, err := r.Read(buffer); err != nil {
					return
				}
			}
		}()
	}
	return fmt.Sprint(command.Wait())
}

func TestAReaderThatLeavesOrHangsEndsNothing(t *testing.T) {
	for _, closed := range []bool{true, false} {
		if ended := logs(t, closed); ended != "exit status 7" {
			t.Errorf("reader gone: %t: %s", closed, ended)
		}
	}
}

func TestWhoLogsNeverWaits(t *testing.T) {
	// Nobody takes lines from it.
	full := make(lossy, 1)
	for range 3 {
		if n, err := full.Write([]byte("line\n")); n != 5 || err != nil {
			t.Fatal(n, err)
		}
	}
}
