package main

/*
#include <stdint.h>
*/
import "C"

import (
	"encoding/json"

	"iris/tailnet/control"
	"tailscale.com/tailcfg"
)

// A control server of the demo; see the package control.

var controls = registry[*control.Server]{kind: "control server"}

//export iris_control_open
func iris_control_open(_ C.int64_t, req *C.uint8_t, n C.size_t, reply **C.uint8_t, rn *C.size_t) C.int64_t {
	return call(req, n, reply, rn, func(in []byte) (int64, []byte, error) {
		o, err := decode[control.Options](in)
		if err != nil {
			return 0, nil, err
		}
		opened, err := control.Start(o)
		if err != nil {
			return 0, nil, err
		}
		out, err := json.Marshal(map[string]string{"url": opened.URL})
		return controls.register(opened), out, err
	})
}

//export iris_control_filter
func iris_control_filter(h C.int64_t, req *C.uint8_t, n C.size_t, reply **C.uint8_t, rn *C.size_t) C.int64_t {
	return call(req, n, reply, rn, func(in []byte) (int64, []byte, error) {
		server, err := controls.lookup(int64(h))
		if err != nil {
			return 0, nil, err
		}
		filter, err := decode[[]tailcfg.FilterRule](in)
		if err != nil {
			return 0, nil, err
		}
		server.SetFilter(filter)
		return 0, nil, nil
	})
}

//export iris_control_close
func iris_control_close(h C.int64_t, req *C.uint8_t, n C.size_t, reply **C.uint8_t, rn *C.size_t) C.int64_t {
	return call(req, n, reply, rn, func([]byte) (int64, []byte, error) {
		server, err := controls.unregister(int64(h))
		if err != nil {
			return 0, nil, err
		}
		server.Close()
		return 0, nil, nil
	})
}
