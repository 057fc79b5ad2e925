package main

import (
	"errors"
	"io"
	"net"
	"sync"

	"golang.org/x/sys/unix"
)

const (
	bufferSize = 32 << 10
	// What an idle connection holds while it waits for its caller.
	idleBufferSize = 4 << 10
)

var (
	buffers     = sync.Pool{New: func() any { return new([bufferSize]byte) }}
	idleBuffers = sync.Pool{New: func() any { return new([idleBufferSize]byte) }}
)

// join copies both ways between a connection on the tailnet and the socket
// whose other end the Rust side holds, until both directions have ended or
// either has failed. Each side waits for the other to take what it has read,
// so a slow reader slows its writer.
func join(tailnet net.Conn, local *net.UnixConn) {
	var both sync.WaitGroup
	abort := func() {
		tailnet.Close()
		local.Close()
	}
	both.Go(func() {
		if err := inward(tailnet, local); err != nil {
			abort()
		}
	})
	both.Go(func() {
		if err := outward(local, tailnet); err != nil {
			abort()
		}
	})
	both.Wait()
	abort()
}

// inward copies from the tailnet to the Rust side.
func inward(from net.Conn, to *net.UnixConn) error {
	for {
		full, err := copyOnce(from, to)
		for full && err == nil {
			full, err = copyBurst(from, to)
		}
		if errors.Is(err, io.EOF) {
			return to.CloseWrite()
		}
		if err != nil {
			return err
		}
	}
}

// copyOnce waits with a small buffer and tells whether it was filled.
func copyOnce(from io.Reader, to io.Writer) (full bool, err error) {
	buffer := idleBuffers.Get().(*[idleBufferSize]byte)
	defer idleBuffers.Put(buffer)
	return copyWith(from, to, buffer[:])
}

// copyBurst does the same with a large one. What doesn't fill it has emptied
// the receive queue, so the next read will wait and should hold little.
func copyBurst(from io.Reader, to io.Writer) (full bool, err error) {
	buffer := buffers.Get().(*[bufferSize]byte)
	defer buffers.Put(buffer)
	return copyWith(from, to, buffer[:])
}

func copyWith(from io.Reader, to io.Writer, buffer []byte) (full bool, err error) {
	n, err := from.Read(buffer)
	if n > 0 {
		if _, werr := to.Write(buffer[:n]); werr != nil {
			return false, werr
		}
	}
	return n == len(buffer), err
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
		// The buffer is taken once there is something to read.
		var (
			buffer  *[bufferSize]byte
			n       int
			readErr error
		)
		err := raw.Read(func(fd uintptr) bool {
			buffer = buffers.Get().(*[bufferSize]byte)
			for {
				n, readErr = unix.Read(int(fd), buffer[:])
				if readErr != unix.EINTR {
					break
				}
			}
			if readErr == unix.EAGAIN {
				buffers.Put(buffer)
				buffer = nil
				return false
			}
			return true
		})
		if err == nil {
			err = readErr
		}
		if err == nil && n > 0 {
			_, err = to.Write(buffer[:n])
		}
		if buffer != nil {
			buffers.Put(buffer)
		}
		if err != nil {
			return err
		}
		if n == 0 {
			break
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
