// Command controlplane is a Kubernetes control plane in one binary: its first argument names the role to play.
package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/embed"
	"k8s.io/component-base/cli"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllers "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
)

const (
	usage = "usage: controlplane etcd DIR CLIENT_URL PEER_URL | kube-apiserver FLAG... | " +
		"kube-controller-manager FLAG... | kube-scheduler FLAG..."
	startTimeout = 30 * time.Second
)

func main() {
	if len(os.Args) < 2 {
		fail(errors.New(usage))
	}
	role, args := os.Args[1], os.Args[2:]
	switch role {
	case "etcd":
		fail(etcd(args))
	case "kube-apiserver":
		os.Exit(run(apiserver.NewAPIServerCommand(), args))
	case "kube-controller-manager":
		os.Exit(run(controllers.NewControllerManagerCommand(), args))
	case "kube-scheduler":
		os.Exit(run(scheduler.NewSchedulerCommand(), args))
	default:
		fail(fmt.Errorf("unknown role %q; %s", role, usage))
	}
}

func run(command *cobra.Command, args []string) int {
	command.SetArgs(args)
	return cli.Run(command)
}

func fail(err error) {
	if err == nil {
		return
	}
	fmt.Fprintln(os.Stderr, "controlplane:", err)
	os.Exit(1)
}

// etcd serves a store of one member until a signal ends it.
func etcd(args []string) error {
	if len(args) != 3 {
		return errors.New(usage)
	}
	config, err := etcdConfig(args[0], args[1], args[2])
	if err != nil {
		return err
	}
	server, err := embed.StartEtcd(config)
	if err != nil {
		return fmt.Errorf("etcd does not start: %w", err)
	}
	defer server.Close()
	return serve(server)
}

func etcdConfig(dir, client, peer string) (*embed.Config, error) {
	clientURL, err := url.Parse(client)
	if err != nil {
		return nil, fmt.Errorf("client address: %w", err)
	}
	peerURL, err := url.Parse(peer)
	if err != nil {
		return nil, fmt.Errorf("peer address: %w", err)
	}
	config := embed.NewConfig()
	config.Dir = dir
	config.ListenClientUrls, config.AdvertiseClientUrls = []url.URL{*clientURL}, []url.URL{*clientURL}
	config.ListenPeerUrls, config.AdvertisePeerUrls = []url.URL{*peerURL}, []url.URL{*peerURL}
	config.InitialCluster = config.InitialClusterFromName(config.Name)
	config.LogLevel = "error"
	// A cluster of the embedded runtime lives as long as its processes: speed matters, a power cut does not.
	config.UnsafeNoFsync = true
	return config, nil
}

func serve(server *embed.Etcd) error {
	stop, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	select {
	case <-server.Server.ReadyNotify():
	case <-time.After(startTimeout):
		return fmt.Errorf("etcd is not ready after %s", startTimeout)
	case <-stop.Done():
		return nil
	}
	select {
	case err := <-server.Err():
		return err
	case <-server.Server.StopNotify():
		return errors.New("etcd stopped by itself")
	case <-stop.Done():
		return nil
	}
}
