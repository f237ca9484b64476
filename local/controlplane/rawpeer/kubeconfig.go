package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
)

// kubeconfig is as much of one as is needed: its first cluster and its first user.
type kubeconfig struct {
	Clusters []struct {
		Cluster struct {
			Server string `json:"server"`
			CA     []byte `json:"certificate-authority-data"`
		} `json:"cluster"`
	} `json:"clusters"`
	Users []struct {
		User struct {
			Token       string `json:"token"`
			Certificate []byte `json:"client-certificate-data"`
			Key         []byte `json:"client-key-data"`
		} `json:"user"`
	} `json:"users"`
}

func connect(given options) (*server, error) {
	text, err := os.ReadFile(given.kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("the kubeconfig cannot be read: %w", err)
	}
	var config kubeconfig
	if err := json.Unmarshal(text, &config); err != nil {
		return nil, fmt.Errorf("%s is not a kubeconfig as JSON: %w", given.kubeconfig, err)
	}
	if len(config.Clusters) == 0 || len(config.Users) == 0 {
		return nil, fmt.Errorf("%s names no cluster or no user", given.kubeconfig)
	}
	trusted, err := trust(config)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", given.kubeconfig, err)
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(!given.http2)
	protocols.SetHTTP2(given.http2)
	transport := &http.Transport{
		TLSClientConfig:     trusted,
		Protocols:           protocols,
		MaxConnsPerHost:     given.connections,
		MaxIdleConnsPerHost: given.connections,
		DisableCompression:  true,
	}
	return &server{
		url:    config.Clusters[0].Cluster.Server,
		token:  config.Users[0].User.Token,
		client: &http.Client{Transport: transport},
	}, nil
}

func trust(config kubeconfig) (*tls.Config, error) {
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(config.Clusters[0].Cluster.CA) {
		return nil, fmt.Errorf("certificate-authority-data holds no certificate")
	}
	trusted := &tls.Config{RootCAs: roots}
	user := config.Users[0].User
	if len(user.Certificate) == 0 {
		return trusted, nil
	}
	certificate, err := tls.X509KeyPair(user.Certificate, user.Key)
	if err != nil {
		return nil, fmt.Errorf("client-certificate-data and client-key-data: %w", err)
	}
	trusted.Certificates = []tls.Certificate{certificate}
	return trusted, nil
}
