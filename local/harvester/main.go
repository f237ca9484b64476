// Command harvester runs what a Harvester cluster runs beside Kubernetes, from the projects' own modules and on
// loopback: its first argument names the role to play.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

const usage = `usage: harvester ROLE
  webhooks KUBECONFIG ADDRESS CERTIFICATE KEY CA   Harvester's admission webhooks, registered by URL
  controllers KUBECONFIG                           Harvester's controllers of machines, backups and restores
  longhorn-csi SOCKET KUBECONFIG                   Longhorn's CSI controller over its custom resources
  kinds                                            the CustomResourceDefinitions of KubeVirt and CDI, printed
  kubevirt-webhooks CA URL                         the registrations of virt-api, printed`

// Requests a second that a client of a role may make. The libraries' own limits of 5 and 10 would make a restore of
// a hundred disks take minutes.
const (
	requests = 200
	burst    = 400
)

type role struct {
	arguments int
	play      func(context.Context, []string) error
}

var roles = map[string]role{
	"webhooks":          {5, serveWebhooks},
	"controllers":       {1, runControllers},
	"longhorn-csi":      {2, serveLonghorn},
	"kinds":             {0, printKinds},
	"kubevirt-webhooks": {2, printWebhooks},
}

func main() {
	stop, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	if err := run(stop, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "harvester:", err)
		os.Exit(1)
	}
}

func run(stop context.Context, words []string) error {
	if len(words) == 0 {
		return errors.New(usage)
	}
	wanted, known := roles[words[0]]
	if !known || len(words)-1 != wanted.arguments {
		return errors.New(usage)
	}
	return wanted.play(stop, words[1:])
}

// connection is how a kubeconfig says to reach the cluster.
func connection(kubeconfig string) (*rest.Config, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("kubeconfig: %w", err)
	}
	config.QPS, config.Burst = requests, burst
	return config, nil
}
