// Package main is a tailnet node behind a C ABI, built as a C archive.
//
// Every exported function but iris_free has one signature:
//
//	int64_t f(int64_t handle, const uint8_t *request, size_t request_len,
//	          uint8_t **reply, size_t *reply_len)
//
// The request is JSON (or empty). A result of zero or more is a handle, a file
// descriptor that now belongs to the caller, or nothing in particular; a
// negative result is a failure, and the reply is then its message. A reply
// lies in C's heap and belongs to the caller, who gives it back with
// iris_free. No Go pointer crosses, nothing is kept of the request, and there
// is no "last error" shared between calls.
package main

/*
#include <stdint.h>
#include <stdlib.h>
*/
import "C"

import (
	"encoding/json"
	"fmt"
	"runtime/debug"
	"sync"
	"time"
	"unsafe"

	"tailscale.com/envknob"
)

func init() {
	// Nothing that this node sees is uploaded to a log server. Package
	// initialisation is the only moment before tsnet reads this.
	envknob.SetNoLogsNoSupport()
}

func main() {}

// registry hands out numbers for what the other side can't hold itself. Its
// numbers are never used twice.
type registry[T any] struct {
	kind string
	mu   sync.Mutex
	open map[int64]T
	last int64
}

var nodes = registry[*node]{kind: "node"}

func (r *registry[T]) register(opened T) int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.open == nil {
		r.open = map[int64]T{}
	}
	r.last++
	r.open[r.last] = opened
	return r.last
}

func (r *registry[T]) lookup(handle int64) (T, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lookupLocked(handle, false)
}

// unregister takes it out, so that only one caller ever closes it.
func (r *registry[T]) unregister(handle int64) (T, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lookupLocked(handle, true)
}

func (r *registry[T]) lookupLocked(handle int64, last bool) (T, error) {
	found, ok := r.open[handle]
	if !ok {
		return found, fmt.Errorf("no open %s has the handle %d", r.kind, handle)
	}
	if last {
		delete(r.open, handle)
	}
	return found, nil
}

// call runs one export's body: it copies the request out of C's memory, turns
// a panic into an error, and copies the reply or the message into C's heap.
func call(request *C.uint8_t, requestLen C.size_t, reply **C.uint8_t, replyLen *C.size_t,
	body func(request []byte) (int64, []byte, error)) (result C.int64_t) {
	*reply, *replyLen = nil, 0
	fail := func(message string) {
		put(reply, replyLen, []byte(message))
		result = -1
	}
	defer func() {
		if p := recover(); p != nil {
			fail(fmt.Sprintf("panic in the tailnet node: %v\n%s", p, debug.Stack()))
		}
	}()
	var in []byte
	if requestLen > 0 {
		in = append(in, unsafe.Slice((*byte)(unsafe.Pointer(request)), int(requestLen))...)
	}
	value, out, err := body(in)
	if err != nil {
		fail(err.Error())
		return result
	}
	put(reply, replyLen, out)
	return C.int64_t(value)
}

func put(reply **C.uint8_t, replyLen *C.size_t, data []byte) {
	if len(data) > 0 {
		*reply = (*C.uint8_t)(C.CBytes(data))
		*replyLen = C.size_t(len(data))
	}
}

// decode reads a request whose fields are all known.
func decode[T any](in []byte) (out T, err error) {
	err = json.Unmarshal(in, &out)
	if err != nil {
		err = fmt.Errorf("request: %w", err)
	}
	return out, err
}

//export iris_node_open
func iris_node_open(_ C.int64_t, req *C.uint8_t, n C.size_t, reply **C.uint8_t, rn *C.size_t) C.int64_t {
	return call(req, n, reply, rn, func(in []byte) (int64, []byte, error) {
		o, err := decode[options](in)
		if err != nil {
			return 0, nil, err
		}
		nd, about, err := openNode(o)
		if err != nil {
			return 0, nil, err
		}
		out, err := json.Marshal(about)
		return nodes.register(nd), out, err
	})
}

// ask runs the body of an export that asks a node something: it finds the node
// and reads the request.
func ask[T any](h C.int64_t, req *C.uint8_t, n C.size_t, reply **C.uint8_t, rn *C.size_t,
	body func(nd *node, request T) (int64, []byte, error)) C.int64_t {
	return call(req, n, reply, rn, func(in []byte) (int64, []byte, error) {
		nd, err := nodes.lookup(int64(h))
		if err != nil {
			return 0, nil, err
		}
		request, err := decode[T](in)
		if err != nil {
			return 0, nil, err
		}
		return body(nd, request)
	})
}

//export iris_node_watch
func iris_node_watch(h C.int64_t, req *C.uint8_t, n C.size_t, reply **C.uint8_t, rn *C.size_t) C.int64_t {
	return ask(h, req, n, reply, rn, func(nd *node, _ struct{}) (int64, []byte, error) {
		fd, err := nd.watch()
		return int64(fd), nil, err
	})
}

//export iris_node_listen
func iris_node_listen(h C.int64_t, req *C.uint8_t, n C.size_t, reply **C.uint8_t, rn *C.size_t) C.int64_t {
	return ask(h, req, n, reply, rn, func(nd *node, r struct{ Port uint16 }) (int64, []byte, error) {
		fd, err := nd.listen(r.Port)
		return int64(fd), nil, err
	})
}

//export iris_node_dial
func iris_node_dial(h C.int64_t, req *C.uint8_t, n C.size_t, reply **C.uint8_t, rn *C.size_t) C.int64_t {
	return ask(h, req, n, reply, rn, func(nd *node, r struct {
		Host      string
		Port      uint16
		Inside    bool
		SilenceMS int64 `json:"silence_ms"`
	}) (int64, []byte, error) {
		fd, err := nd.dial(r.Host, r.Port, r.Inside, time.Duration(r.SilenceMS)*time.Millisecond)
		return int64(fd), nil, err
	})
}

//export iris_node_rejoin
func iris_node_rejoin(h C.int64_t, req *C.uint8_t, n C.size_t, reply **C.uint8_t, rn *C.size_t) C.int64_t {
	return ask(h, req, n, reply, rn, func(nd *node, r struct {
		WithKey bool `json:"with_key"`
		Fresh   bool
	}) (int64, []byte, error) {
		return 0, nil, nd.rejoin(r.WithKey, r.Fresh)
	})
}

//export iris_node_whois
func iris_node_whois(h C.int64_t, req *C.uint8_t, n C.size_t, reply **C.uint8_t, rn *C.size_t) C.int64_t {
	return ask(h, req, n, reply, rn, func(nd *node, r struct{ IP string }) (int64, []byte, error) {
		out, err := nd.whois(r.IP)
		return 0, out, err
	})
}

//export iris_node_certificate
func iris_node_certificate(h C.int64_t, req *C.uint8_t, n C.size_t, reply **C.uint8_t, rn *C.size_t) C.int64_t {
	return ask(h, req, n, reply, rn, func(nd *node, r struct{ Domain string }) (int64, []byte, error) {
		out, err := nd.certificate(r.Domain)
		return 0, out, err
	})
}

//export iris_node_close
func iris_node_close(h C.int64_t, req *C.uint8_t, n C.size_t, reply **C.uint8_t, rn *C.size_t) C.int64_t {
	return call(req, n, reply, rn, func([]byte) (int64, []byte, error) {
		nd, err := nodes.unregister(int64(h))
		if err != nil {
			return 0, nil, err
		}
		return 0, nil, nd.close()
	})
}

//export iris_free
func iris_free(buffer *C.uint8_t) {
	C.free(unsafe.Pointer(buffer))
}
