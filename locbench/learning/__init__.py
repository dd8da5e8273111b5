"""One step of local learning: modules, auxiliary nets and the routing of gradients."""
