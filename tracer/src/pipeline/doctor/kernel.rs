//! Facts of the kernel.

use crate::doctor::{Finding, kernel};
use crate::kernel::btf::Btf;
use crate::kernel::drop_reason::DropReasons;
use crate::kernel::{kallsyms, rights, system};
use crate::pipeline::RunError;

pub(super) fn look() -> Vec<Finding> {
    let mut findings = vec![kernel::version(&system::release())];
    findings.extend(kernel::type_information(&drop_reasons()));
    let visible = kallsyms::is_visible().map_err(|error| error.to_string());
    findings.push(kernel::symbols(&visible));
    findings.push(kernel::lockdown(system::lockdown()));
    findings.push(kernel::capabilities(&rights::held().map_err(|error| error.to_string())));
    findings.push(kernel::settings(&kernel::SYSCTLS.map(|name| (name, system::sysctl(name)))));
    findings
}

fn drop_reasons() -> Result<usize, String> {
    let read = || DropReasons::read(&Btf::vmlinux()?);
    let reasons = read().map_err(|error| RunError::from(error).one_line())?;
    Ok(reasons.all().len())
}
