// Command rawpeer sends requests that were written down beforehand to an API server and reads the
// answers, as fast as its connections allow: what a client of that server is compared with.
//
// A line of the requests is a JSON object: machine, method, path, headers, body. The requests of a
// machine go one after the other, in their order; machines go side by side. Nothing is repeated.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"time"
)

// limit is the length up to which the answer to a refused request is told.
const limit = 400

type options struct {
	kubeconfig, requests string
	connections          int
	http2                bool
}

// outcome is what standard output says.
type outcome struct {
	Seconds  float64     `json:"seconds"`
	Requests int         `json:"requests"`
	Statuses map[int]int `json:"statuses"`
}

func main() {
	var given options
	flag.StringVar(&given.kubeconfig, "kubeconfig", "", "`file` with a self-contained kubeconfig, as JSON")
	flag.StringVar(&given.requests, "requests", "", "`file` with a request a line")
	flag.IntVar(&given.connections, "connections", 16, "how many machines go side by side")
	flag.BoolVar(&given.http2, "http2", false, "one HTTP/2 connection instead of HTTP/1.1 ones")
	flag.Parse()
	if err := run(given); err != nil {
		fmt.Fprintln(os.Stderr, "rawpeer:", err)
		os.Exit(1)
	}
}

func run(given options) error {
	if given.connections < 1 {
		return errors.New("-connections must be at least 1")
	}
	machines, err := read(given.requests)
	if err != nil {
		return err
	}
	server, err := connect(given)
	if err != nil {
		return err
	}
	started := time.Now()
	sent := server.sendAll(machines, given.connections)
	took := time.Since(started).Seconds()
	told := outcome{Seconds: took, Requests: sent.requests(), Statuses: sent.statuses}
	if err := json.NewEncoder(os.Stdout).Encode(told); err != nil {
		return fmt.Errorf("the figures cannot be printed: %w", err)
	}
	return sent.failure()
}
