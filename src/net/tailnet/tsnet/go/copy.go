package main

import (
	"errors"
	"io"
	"net"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/waiter"
)

const bufferSize = 32 << 10

type buffer [bufferSize]byte

// A direction holds a buffer only while it has bytes on the way: thousands of
// connections wait for their next event.
var buffers = sync.Pool{New: func() any { return new(buffer) }}

// join copies both ways between a connection on the tailnet and the socket
// whose other end the Rust side holds, until both directions have ended or
// either has failed. Each side waits for the other to take what it has read,
// so a slow reader slows its writer.
func join(tailnet net.Conn, local *net.UnixConn) {
	abort := func() {
		tailnet.Close()
		local.Close()
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := inward(tailnet, local); err != nil {
			abort()
		}
	}()
	if err := outward(local, tailnet); err != nil {
		abort()
	}
	<-ended
	abort()
}

// inward copies from the tailnet to the Rust side.
func inward(from net.Conn, to *net.UnixConn) error {
	heard := func() {}
	if dialed, ok := from.(*dialedConn); ok {
		heard, from = dialed.peer.hears, dialed.Conn
	}
	read, done := receiver(from)
	defer done()
	for {
		err := relay(func() (*buffer, int, error) {
			taken, n, err := read()
			if n > 0 {
				heard()
			}
			return taken, n, err
		}, to)
		if errors.Is(err, io.EOF) {
			return to.CloseWrite()
		}
		if err != nil {
			return err
		}
	}
}

// errClosed says that the Rust side has closed its socket, rather than only
// said that it will write no more.
var errClosed = errors.New("closed by the local side")

// outward copies from the Rust side to the tailnet.
func outward(from *net.UnixConn, to net.Conn) error {
	raw, err := from.SyscallConn()
	if err != nil {
		return err
	}
	for {
		err := relay(func() (*buffer, int, error) { return readSocket(raw) }, to)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
	}
	// The end of the stream is either half of a close or the whole of it.
	// Only the second ends the other direction too, and it may come later.
	if half, ok := to.(interface{ CloseWrite() error }); ok {
		if err := half.CloseWrite(); err != nil {
			return err
		}
	}
	err = raw.Read(func(fd uintptr) bool { return hungUp(int(fd)) })
	if err != nil {
		return err
	}
	return errClosed
}

// relay passes on what one read brings, which has a buffer of the pool.
func relay(read func() (*buffer, int, error), to io.Writer) error {
	taken, n, err := read()
	if n > 0 {
		_, err = to.Write(taken[:n])
	}
	if taken != nil {
		buffers.Put(taken)
	}
	return err
}

// receiver returns how to read from a connection on the tailnet, and what to
// do when it is read no more.
func receiver(from net.Conn) (read func() (*buffer, int, error), done func()) {
	ep, queue, ok := endpoint(from)
	if !ok {
		// Of the machine's network: few, and with a buffer each.
		return func() (*buffer, int, error) {
			taken := buffers.Get().(*buffer)
			n, err := from.Read(taken[:])
			return taken, n, err
		}, func() {}
	}
	// The adapter's own Read would want the buffer before there is anything
	// to read, and makes a channel each time that it waits. It also lets the
	// receive buffer grow from 1 MiB to 8, which would then wait here for each
	// caller whose request isn't read yet.
	entry, ready := waiter.NewChannelEntry(waiter.ReadableEvents)
	queue.EventRegister(&entry)
	return func() (*buffer, int, error) { return readEndpoint(ep, ready) },
		func() { queue.EventUnregister(&entry) }
}

// readEndpoint waits until an endpoint of netstack has something, and reads it.
func readEndpoint(ep tcpip.Endpoint, ready <-chan struct{}) (*buffer, int, error) {
	for {
		taken := buffers.Get().(*buffer)
		to := tcpip.SliceWriter(taken[:])
		result, err := ep.Read(&to, tcpip.ReadOptions{})
		switch err.(type) {
		case nil:
			return taken, result.Count, nil
		case *tcpip.ErrWouldBlock:
			buffers.Put(taken)
			<-ready
		case *tcpip.ErrClosedForReceive:
			return taken, 0, io.EOF
		default:
			return taken, 0, errors.New(err.String())
		}
	}
}

// readSocket waits until a socket has something, and reads it.
func readSocket(raw syscall.RawConn) (taken *buffer, n int, err error) {
	waitErr := raw.Read(func(fd uintptr) bool {
		taken = buffers.Get().(*buffer)
		for {
			n, err = unix.Read(int(fd), taken[:])
			if err != unix.EINTR {
				break
			}
		}
		if err == unix.EAGAIN {
			buffers.Put(taken)
			taken = nil
			return false
		}
		return true
	})
	switch {
	case waitErr != nil:
		return taken, 0, waitErr
	case err != nil:
		return taken, 0, err
	case n == 0:
		return taken, 0, io.EOF
	}
	return taken, n, nil
}

// hungUp reports whether neither direction of the socket can be used.
func hungUp(fd int) bool {
	polled := []unix.PollFd{{Fd: int32(fd)}}
	for {
		_, err := unix.Poll(polled, 0)
		if err != unix.EINTR {
			return err != nil || polled[0].Revents&(unix.POLLHUP|unix.POLLERR|unix.POLLNVAL) != 0
		}
	}
}
