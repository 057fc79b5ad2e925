package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// pendingConnections is how many accepted connections may wait for the Rust
// side; what comes while they do is closed.
const pendingConnections = 1024

// sendBytes is as much of a response as may be on its way to a caller who reads
// it slowly, as on the host's network (src/net/socket.rs).
const sendBytes = 128 << 10

// receiveBytes is as much as a server may have sent ahead of a caller who reads
// it slowly, as on the host's network; netstack would let it grow to 8 MiB.
const receiveBytes = 512 << 10

// pairBytes is as much as may wait in either direction of a socket pair.
const pairBytes = 64 << 10

// An announcement is one message of announcementSize bytes that carries one
// file descriptor: source address (16 bytes, IPv4 mapped), source port (2,
// big endian), destination address (16), destination port (2).
const announcementSize = 36

// listen accepts connections to the port on the node's own addresses, of both
// families, and returns the socket on which they are announced. Closing that
// socket ends the listening.
func (n *node) listen(port uint16) (int, error) {
	listener, err := n.server.Listen("tcp", fmt.Sprintf(":%d", port))
	if err != nil {
		return -1, err
	}
	ours, theirs, err := announcementPair()
	if err != nil {
		listener.Close()
		return -1, err
	}
	pending := make(chan net.Conn, pendingConnections)
	// tsnet drops a connection that is not accepted within a second, so this
	// loop does nothing that could wait.
	go func() {
		defer close(pending)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			select {
			case pending <- conn:
			default:
				conn.Close()
			}
		}
	}()
	go func() {
		defer ours.Close()
		defer listener.Close()
		for conn := range pending {
			if err := announce(ours, conn); err != nil {
				listener.Close()
			}
		}
	}()
	// Nothing is ever written on the other end: a read returns when it closes.
	go func() {
		var b [1]byte
		ours.Read(b[:])
		listener.Close()
	}()
	return theirs, nil
}

// announce hands one connection over: its descriptor and both its addresses
// are one message, so they can't be matched wrongly. It fails once nobody is
// there to take any.
func announce(to *net.UnixConn, conn net.Conn) error {
	source, sourceErr := addrPort(conn.RemoteAddr())
	destination, destinationErr := addrPort(conn.LocalAddr())
	if sourceErr != nil || destinationErr != nil {
		conn.Close()
		return nil
	}
	ours, theirs, err := streamPair()
	if err != nil {
		// Out of descriptors: this caller is turned away, later ones may do.
		conn.Close()
		return nil
	}
	message := make([]byte, 0, announcementSize)
	for _, a := range []netip.AddrPort{source, destination} {
		ip := a.Addr().As16()
		message = append(message, ip[:]...)
		message = binary.BigEndian.AppendUint16(message, a.Port())
	}
	_, _, err = to.WriteMsgUnix(message, unix.UnixRights(theirs), nil)
	unix.Close(theirs)
	if err != nil {
		ours.Close()
		conn.Close()
		if errors.Is(err, unix.EPIPE) || errors.Is(err, unix.ECONNRESET) || errors.Is(err, net.ErrClosed) {
			return err
		}
		// The kernel has no room for now, for instance for descriptors on
		// their way (ETOOMANYREFS).
		return nil
	}
	boundSend(conn)
	go join(conn, ours)
	return nil
}

// boundSend limits what waits in the node for a caller who reads slowly;
// netstack would let it grow to 6 MiB.
func boundSend(conn net.Conn) {
	if ep, _, ok := endpoint(conn); ok {
		ep.SocketOptions().SetSendBufferSize(sendBytes, true)
	}
}

// boundReceive limits what waits in the node of what a server sends.
func boundReceive(conn net.Conn) {
	if ep, _, ok := endpoint(conn); ok {
		ep.SocketOptions().SetReceiveBufferSize(receiveBytes, true)
	}
}

func addrPort(a net.Addr) (netip.AddrPort, error) {
	if tcp, ok := a.(*net.TCPAddr); ok {
		return tcp.AddrPort(), nil
	}
	return netip.ParseAddrPort(a.String())
}

func streamPair() (*net.UnixConn, int, error) { return socketPair(unix.SOCK_STREAM) }

func announcementPair() (*net.UnixConn, int, error) {
	if runtime.GOOS == "darwin" {
		// Its local sockets have no SOCK_SEQPACKET; messages have one size.
		return socketPair(unix.SOCK_STREAM)
	}
	return socketPair(unix.SOCK_SEQPACKET)
}

// socketPair returns this side as a connection and the other side as a bare
// descriptor; neither blocks, and neither is inherited by a child process.
func socketPair(kind int) (*net.UnixConn, int, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, kind, 0)
	if err != nil {
		return nil, -1, err
	}
	for _, fd := range fds {
		unix.CloseOnExec(fd)
		if err := unix.SetNonblock(fd, true); err != nil {
			unix.Close(fds[0])
			unix.Close(fds[1])
			return nil, -1, err
		}
		if kind == unix.SOCK_STREAM {
			// The kernel doubles it, for its own needs.
			unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, pairBytes)
		}
	}
	file := os.NewFile(uintptr(fds[0]), "tailnet")
	conn, err := net.FileConn(file)
	file.Close()
	if err != nil {
		unix.Close(fds[1])
		return nil, -1, err
	}
	return conn.(*net.UnixConn), fds[1], nil
}
