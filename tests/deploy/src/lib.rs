//! Nothing but tests, in a package of their own: the types of the Kubernetes API and of Cilium's resources take long
//! to build, and nobody else needs them.

#[cfg(test)]
mod chart;
#[cfg(test)]
mod manifests;
#[cfg(test)]
mod strict;
#[cfg(test)]
mod suggestions;
