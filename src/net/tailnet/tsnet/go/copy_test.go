package main

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"
)

// joinedPair connects two sockets through netstack: what the Rust sides of two
// nodes hold.
func joinedPair(t *testing.T) (near, far *net.UnixConn) {
	t.Helper()
	outgoing, listener := dialed(t)
	boundReceive(outgoing)
	incoming, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	boundSend(incoming)
	side := func(tailnet net.Conn) *net.UnixConn {
		ours, theirs, err := streamPair()
		if err != nil {
			t.Fatal(err)
		}
		go join(tailnet, ours)
		file := os.NewFile(uintptr(theirs), "rust")
		defer file.Close()
		conn, err := net.FileConn(file)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		conn.SetDeadline(time.Now().Add(time.Minute))
		return conn.(*net.UnixConn)
	}
	return side(outgoing), side(incoming)
}

// noise writes so many bytes in pieces of any size, with pauses, and ends its
// direction.
func noise(to *net.UnixConn, seed uint64, length int) error {
	random := rand.New(rand.NewPCG(seed, 1))
	source := rand.NewChaCha8([32]byte{byte(seed)})
	for length > 0 {
		piece := make([]byte, min(length, 1+random.IntN(1<<(1+random.IntN(17)))))
		source.Read(piece)
		if _, err := to.Write(piece); err != nil {
			return err
		}
		length -= len(piece)
		if random.IntN(8) == 0 {
			time.Sleep(time.Duration(random.IntN(300)) * time.Microsecond)
		}
	}
	return to.CloseWrite()
}

// heardNoise reads to the end what noise has written.
func heardNoise(from io.Reader, seed uint64, length int) error {
	found, err := io.ReadAll(from)
	if err != nil {
		return err
	}
	expected := make([]byte, length)
	rand.NewChaCha8([32]byte{byte(seed)}).Read(expected)
	if !bytes.Equal(found, expected) {
		return errors.New("other bytes than were written")
	}
	return nil
}

// Many connections at once carry different bytes both ways, in pieces of every
// size, and end each direction by itself.
func TestBytesPassUnchanged(t *testing.T) {
	const connections, length = 16, 1 << 20
	var all sync.WaitGroup
	failed := make(chan error, 4*connections)
	for nth := range uint64(connections) {
		near, far := joinedPair(t)
		for _, way := range []struct {
			from, to *net.UnixConn
			seed     uint64
		}{{near, far, 2 * nth}, {far, near, 2*nth + 1}} {
			all.Go(func() { failed <- noise(way.from, way.seed, length) })
			all.Go(func() { failed <- heardNoise(way.to, way.seed, length) })
		}
	}
	all.Wait()
	close(failed)
	for err := range failed {
		if err != nil {
			t.Error(err)
		}
	}
}

// What one side resets or closes ends the other, whatever is on its way, and
// nothing of it stays.
func TestNothingStaysOfAConnection(t *testing.T) {
	for _, end := range []string{"closed at once", "closed while it is written", "closed with bytes unread", "closed after its half"} {
		t.Run(end, func(t *testing.T) {
			near, far := joinedPair(t)
			switch end {
			case "closed while it is written":
				go noise(near, 1, 64<<20)
				if _, err := io.ReadFull(far, make([]byte, 1<<20)); err != nil {
					t.Fatal(err)
				}
			case "closed with bytes unread":
				if _, err := far.Write(make([]byte, 100)); err != nil {
					t.Fatal(err)
				}
			case "closed after its half":
				if err := near.CloseWrite(); err != nil {
					t.Fatal(err)
				}
				if _, err := io.ReadAll(far); err != nil {
					t.Fatal(err)
				}
			}
			near.Close()
			// Its reader ends, and so does its writer.
			ended := make(chan error, 1)
			go func() {
				_, err := io.Copy(io.Discard, far)
				ended <- err
			}()
			for {
				if _, err := far.Write(make([]byte, 1024)); err != nil {
					if errors.Is(err, os.ErrDeadlineExceeded) {
						t.Fatal("the other end is still open")
					}
					break
				}
				time.Sleep(time.Millisecond)
			}
			if err := <-ended; errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatal("its reader still waits")
			}
		})
	}
	until := time.Now().Add(20 * time.Second)
	for copying() > 0 {
		if time.Now().After(until) {
			t.Fatalf("%d goroutines still copy", copying())
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// copying counts the goroutines of connections.
func copying() int {
	stacks := make([]byte, 4<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	return bytes.Count(stacks, []byte("main.join(")) + bytes.Count(stacks, []byte("tailnet.join("))
}

// A server's writer waits for a caller who doesn't read, so that no more is kept
// than the buffers on the way hold.
func TestAWriterWaitsForItsReader(t *testing.T) {
	caller, server := joinedPair(t)
	var written int
	piece := make([]byte, 64<<10)
	for {
		server.SetWriteDeadline(time.Now().Add(500 * time.Millisecond))
		n, err := server.Write(piece)
		written += n
		if errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if written > 64<<20 {
			t.Fatal("64 MiB fit into a connection that nobody reads")
		}
	}
	// Each socket pair holds what the kernel makes of pairBytes, and each join
	// has a buffer in its hands.
	if most := sendBytes + receiveBytes + 2*(2*pairBytes+2*bufferSize); written > most {
		t.Errorf("%d bytes were on the way, and not at most %d", written, most)
	}
	server.SetWriteDeadline(time.Now().Add(time.Minute))
	go server.CloseWrite()
	if n, err := io.Copy(io.Discard, caller); err != nil || int(n) != written {
		t.Fatalf("%d of %d bytes came: %v", n, written, err)
	}
}
