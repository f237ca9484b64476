package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
)

type request struct {
	Machine string            `json:"machine"`
	Method  string            `json:"method"`
	Path    string            `json:"path"`
	Headers map[string]string `json:"headers"`
	Body    string            `json:"body"`
}

// read gives the requests of each machine, machines in the order in which the file names them.
func read(file string) ([][]request, error) {
	source, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("the requests cannot be read: %w", err)
	}
	defer source.Close()
	var machines [][]request
	places := map[string]int{}
	lines := json.NewDecoder(source)
	for {
		var each request
		err := lines.Decode(&each)
		if errors.Is(err, io.EOF) {
			return machines, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%s is not one JSON object a line: %w", file, err)
		}
		place, known := places[each.Machine]
		if !known {
			place = len(machines)
			places[each.Machine] = place
			machines = append(machines, nil)
		}
		machines[place] = append(machines[place], each)
	}
}
