package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"os"

	admission "k8s.io/api/admissionregistration/v1"
	extensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	cdi "kubevirt.io/containerized-data-importer/pkg/operator/resources"
	"kubevirt.io/kubevirt/pkg/virt-operator/resource/generate/components"
	"sigs.k8s.io/yaml"
)

const kubevirtNamespace = "kubevirt"

// printKinds prints what virt-operator and cdi-operator make before anything else of theirs: one List, as JSON.
func printKinds(context.Context, []string) error {
	var items []any
	for _, definition := range []func() (*extensions.CustomResourceDefinition, error){
		components.NewKubeVirtCrd,
		components.NewMigrationPolicyCrd,
		components.NewPresetCrd,
		components.NewReplicaSetCrd,
		components.NewVirtualMachineCloneCrd,
		components.NewVirtualMachineClusterInstancetypeCrd,
		components.NewVirtualMachineClusterPreferenceCrd,
		components.NewVirtualMachineCrd,
		components.NewVirtualMachineExportCrd,
		components.NewVirtualMachineInstanceCrd,
		components.NewVirtualMachineInstanceMigrationCrd,
		components.NewVirtualMachineInstancetypeCrd,
		components.NewVirtualMachinePoolCrd,
		components.NewVirtualMachinePreferenceCrd,
		components.NewVirtualMachineRestoreCrd,
		components.NewVirtualMachineSnapshotContentCrd,
		components.NewVirtualMachineSnapshotCrd,
	} {
		one, err := definition()
		if err != nil {
			return fmt.Errorf("kinds of KubeVirt: %w", err)
		}
		items = append(items, one)
	}
	items = append(items, components.NewKubeVirtPriorityClassCR())
	for _, text := range cdi.CDICRDs {
		one := map[string]any{}
		if err := yaml.Unmarshal([]byte(text), &one); err != nil {
			return fmt.Errorf("kinds of CDI: %w", err)
		}
		items = append(items, one)
	}
	return printList(items)
}

// printWebhooks prints the registrations of a virt-api that listens at a URL, with the CA that its certificate is of.
func printWebhooks(_ context.Context, words []string) error {
	ca, err := os.ReadFile(words[0])
	if err != nil {
		return err
	}
	base, err := url.Parse(words[1])
	if err != nil {
		return err
	}
	mutating := components.NewVirtAPIMutatingWebhookConfiguration(kubevirtNamespace)
	for i := range mutating.Webhooks {
		toURL(&mutating.Webhooks[i].ClientConfig, base, ca)
	}
	validating := components.NewVirtAPIValidatingWebhookConfiguration(kubevirtNamespace)
	for i := range validating.Webhooks {
		toURL(&validating.Webhooks[i].ClientConfig, base, ca)
	}
	items := []any{mutating, validating}
	for _, service := range components.NewVirtAPIAPIServices(kubevirtNamespace) {
		one, err := atPort(service, base.Port(), ca)
		if err != nil {
			return err
		}
		items = append(items, one)
	}
	return printList(items)
}

func toURL(config *admission.WebhookClientConfig, base *url.URL, ca []byte) {
	whole := base.JoinPath(*config.Service.Path).String()
	config.Service, config.URL, config.CABundle = nil, &whole, ca
}

// atPort is an APIService whose Service (of type ExternalName, for localhost) is asked at a port of ours. Its Go type
// is of another module's version, so it is changed as JSON.
func atPort(service any, port string, ca []byte) (map[string]any, error) {
	raw, err := json.Marshal(service)
	if err != nil {
		return nil, err
	}
	var one struct {
		APIVersion string         `json:"apiVersion"`
		Kind       string         `json:"kind"`
		Metadata   map[string]any `json:"metadata"`
		Spec       map[string]any `json:"spec"`
	}
	if err := json.Unmarshal(raw, &one); err != nil {
		return nil, err
	}
	one.Spec["caBundle"] = base64.StdEncoding.EncodeToString(ca)
	if target, ok := one.Spec["service"].(map[string]any); ok {
		target["port"] = json.Number(port)
	}
	return map[string]any{
		"apiVersion": one.APIVersion, "kind": one.Kind, "metadata": one.Metadata, "spec": one.Spec,
	}, nil
}

func printList(items []any) error {
	return json.NewEncoder(os.Stdout).Encode(map[string]any{"apiVersion": "v1", "kind": "List", "items": items})
}
