//! `tracer doctor`: gathers facts, has them judged, lists the findings. A file here gathers the facts of one
//! subject; what they mean is decided in [`crate::doctor`].

mod agent;
mod capacity;
mod devices;
mod endpoints;
mod kernel;
mod mode;
mod node;
mod pins;
mod policy;
mod taps;

use std::io;

use super::{RunError, place};
use crate::cilium::source;
use crate::cli::doctor::DoctorPlan;
use crate::cli::exit::Exit;
use crate::cli::global::Global;
use crate::doctor::{Finding, Group, Summary};
use crate::output::doctor::{COLUMNS, footer, json_summary};
use crate::output::listing::Listing;
use node::Node;

pub fn run(global: &Global, plan: &DoctorPlan) -> Result<Exit, RunError> {
    super::live_only(global, "doctor")?;
    let found = source::find(&place::wanted(global)).map_err(RunError::Source)?;
    let node = Node::look(found);
    let mut findings = findings(&node, plan);
    findings.retain(|finding| plan.groups.contains(&finding.check.group));
    show(&findings, plan)?;
    Ok(if Summary::of(&findings).fail > 0 { Exit::ConditionNotMet } else { Exit::Done })
}

fn findings(node: &Node, plan: &DoctorPlan) -> Vec<Finding> {
    let wants = |group| plan.groups.contains(&group);
    let takes_time = |group| !plan.quick && wants(group);
    let mut findings = kernel::look();
    if takes_time(Group::Tap) {
        findings.extend(taps::try_out(node.view.events_map()));
    }
    findings.extend(node.places());
    if !node.has_maps() {
        return findings;
    }
    findings.push(node.release());
    let loaded = pins::Loaded::read();
    findings.extend(pins::look(node, &loaded));
    findings.extend(devices::look(node));
    findings.extend(agent::look(node));
    findings.extend(endpoints::look(node));
    if takes_time(Group::Capacity) || takes_time(Group::Proxy) {
        let policy = policy::Policies::read(node);
        findings.extend(capacity::look(node, &policy));
        findings.push(policy::proxies(node, &policy));
    }
    findings.push(mode::routing(node));
    if takes_time(Group::Mode) {
        findings.push(mode::kube_proxy(node, &loaded));
    }
    findings
}

fn show(findings: &[Finding], plan: &DoctorPlan) -> Result<(), RunError> {
    let mut listing = Listing::new(io::stdout().lock(), &plan.listing, COLUMNS).named("checks");
    for finding in findings {
        if listing.row(finding).is_break() {
            break;
        }
    }
    listing
        .finish_with(&footer(findings), |members| json_summary(members, Summary::of(findings)))
        .map_err(RunError::Output)?;
    Ok(())
}
