package main

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
)

type server struct {
	url, token string
	client     *http.Client
}

// sent counts answers by their status and keeps the first refusal and the first request that got
// no answer.
type sent struct {
	lock     sync.Mutex
	statuses map[int]int
	refused  int
	refusal  string
	broken   error
}

// sendAll returns when every request has its answer. A refusal stops nothing; a request without an
// answer ends its machine.
func (s *server) sendAll(machines [][]request, connections int) *sent {
	all := &sent{statuses: map[int]int{}}
	waiting := make(chan []request)
	var workers sync.WaitGroup
	for range connections {
		workers.Go(func() {
			for machine := range waiting {
				s.sendInOrder(machine, all)
			}
		})
	}
	for _, machine := range machines {
		waiting <- machine
	}
	close(waiting)
	workers.Wait()
	return all
}

func (s *server) sendInOrder(machine []request, all *sent) {
	for _, each := range machine {
		status, answer, err := s.send(each)
		if err != nil {
			all.lost(err)
			return
		}
		all.answered(each, status, answer)
	}
}

func (s *server) send(each request) (int, []byte, error) {
	made, err := http.NewRequest(each.Method, s.url+each.Path, strings.NewReader(each.Body))
	if err != nil {
		return 0, nil, err
	}
	for name, value := range each.Headers {
		made.Header.Set(name, value)
	}
	if s.token != "" {
		made.Header.Set("Authorization", "Bearer "+s.token)
	}
	answer, err := s.client.Do(made)
	if err != nil {
		return 0, nil, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	return answer.StatusCode, body, err
}

func (a *sent) lost(err error) {
	a.lock.Lock()
	defer a.lock.Unlock()
	if a.broken == nil {
		a.broken = err
	}
}

func (a *sent) answered(each request, status int, answer []byte) {
	a.lock.Lock()
	defer a.lock.Unlock()
	a.statuses[status]++
	if status >= 200 && status <= 299 {
		return
	}
	a.refused++
	if a.refused == 1 {
		a.refusal = fmt.Sprintf("%s %s answered %d: %.*s", each.Method, each.Path, status, limit, answer)
	}
}

func (a *sent) requests() int {
	total := 0
	for _, count := range a.statuses {
		total += count
	}
	return total
}

func (a *sent) failure() error {
	if a.broken != nil {
		return fmt.Errorf("a request got no answer: %w", a.broken)
	}
	if a.refused > 0 {
		return fmt.Errorf("%d of %d requests were refused; the first: %s", a.refused, a.requests(), a.refusal)
	}
	return nil
}
