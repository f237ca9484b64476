package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"

	"github.com/gorilla/mux"
	"github.com/sirupsen/logrus"
	admission "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/harvester/harvester/pkg/webhook"
	"github.com/harvester/harvester/pkg/webhook/clients"
	"github.com/harvester/harvester/pkg/webhook/config"
	"github.com/harvester/harvester/pkg/webhook/indexeres"
	"github.com/harvester/harvester/pkg/webhook/server"
	"github.com/harvester/harvester/pkg/webhook/types"
)

const (
	validationPath = "/v1/webhook/validation"
	mutationPath   = "/v1/webhook/mutation"
	harvesterUser  = "system:serviceaccount:harvester-system:harvester"
)

// serveWebhooks is Harvester's cmd/webhook, which listens on every interface and is registered by a Service: here it
// listens on loopback and is registered by URL. All that it decides is decided by the same code.
func serveWebhooks(stop context.Context, words []string) error {
	kubeconfig, address, certificate, key, authority := words[0], words[1], words[2], words[3], words[4]
	cluster, err := connection(kubeconfig)
	if err != nil {
		return err
	}
	options := &config.Options{
		Namespace: harvesterNamespace, Threadiness: workers, HarvesterControllerUsername: harvesterUser,
	}
	all, err := clients.New(stop, cluster, options.Threadiness, false)
	if err != nil {
		return fmt.Errorf("clients: %w", err)
	}
	indexeres.RegisterIndexers(all)
	validate, validated, err := server.Validation(all, options, false)
	if err != nil {
		return fmt.Errorf("validators: %w", err)
	}
	mutate, mutated, err := server.Mutation(all, options, false)
	if err != nil {
		return fmt.Errorf("mutators: %w", err)
	}
	router := mux.NewRouter()
	router.Handle(validationPath, validate)
	router.Handle(mutationPath, mutate)
	failed := make(chan error, 1)
	go func() { failed <- http.ListenAndServeTLS(address, certificate, key, router) }()
	if err := all.Start(stop); err != nil {
		return fmt.Errorf("start: %w", err)
	}
	ca, err := os.ReadFile(authority)
	if err != nil {
		return err
	}
	base := "https://" + address
	if err := register(stop, all, base, ca, validated, mutated); err != nil {
		return fmt.Errorf("registration: %w", err)
	}
	logrus.Info("webhooks registered")
	select {
	case err := <-failed:
		return err
	case <-stop.Done():
		return nil
	}
}

// register replaces what an earlier start has left. Names, policies and rules are those that Harvester registers.
func register(
	ctx context.Context, all *clients.Clients, base string, ca []byte, validated, mutated []types.Resource,
) error {
	fail, ignore, none := admission.Fail, admission.Ignore, admission.SideEffectClassNone
	versions := []string{"v1"}
	validating := &admission.ValidatingWebhookConfiguration{
		ObjectMeta: meta.ObjectMeta{Name: webhook.ValidatingWebhookName},
		Webhooks: []admission.ValidatingWebhook{{
			Name: "validator.harvesterhci.io", ClientConfig: at(base+validationPath, ca), Rules: rules(validated),
			FailurePolicy: &fail, SideEffects: &none, AdmissionReviewVersions: versions,
		}},
	}
	mutating := &admission.MutatingWebhookConfiguration{
		ObjectMeta: meta.ObjectMeta{Name: webhook.MutatingWebhookName},
		Webhooks: []admission.MutatingWebhook{{
			Name: "mutator.harvesterhci.io", ClientConfig: at(base+mutationPath, ca), Rules: rules(mutated),
			FailurePolicy: &ignore, SideEffects: &none, AdmissionReviewVersions: versions,
		}},
	}
	api := all.K8s.AdmissionregistrationV1()
	err := errors.Join(
		unlessGone(api.ValidatingWebhookConfigurations().Delete(ctx, validating.Name, meta.DeleteOptions{})),
		unlessGone(api.MutatingWebhookConfigurations().Delete(ctx, mutating.Name, meta.DeleteOptions{})),
	)
	if err != nil {
		return err
	}
	if _, err := api.MutatingWebhookConfigurations().Create(ctx, mutating, meta.CreateOptions{}); err != nil {
		return err
	}
	_, err = api.ValidatingWebhookConfigurations().Create(ctx, validating, meta.CreateOptions{})
	return err
}

func unlessGone(err error) error {
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

func at(url string, ca []byte) admission.WebhookClientConfig {
	return admission.WebhookClientConfig{URL: &url, CABundle: ca}
}

func rules(resources []types.Resource) []admission.RuleWithOperations {
	var all []admission.RuleWithOperations
	for _, each := range resources {
		scope := each.Scope
		all = append(all, admission.RuleWithOperations{
			Operations: each.OperationTypes,
			Rule: admission.Rule{
				APIGroups: []string{each.APIGroup}, APIVersions: []string{each.APIVersion},
				Resources: each.Names, Scope: &scope,
			},
		})
	}
	return all
}
