//! The agent of the negative control: it moves the generation page, but late, as an agent in a real system does.

use std::io;
use std::path::Path;

use snaprng::host::AgentPage;

use crate::idle::sleep_through_resume;
use crate::plan::Plan;
use crate::truth::Truth;

/// Not where every process looks for one: only those that are told to watch this one.
pub(crate) const PAGE: &str = "/run/late/generation";

pub(crate) fn run(plan: &Plan, truth: Truth) -> io::Result<()> {
    std::fs::create_dir_all(Path::new(PAGE).parent().expect("the page has a folder"))?;
    let page = AgentPage::create(PAGE)?;
    truth.set_ready(plan.number);
    sleep_through_resume(truth);
    std::thread::sleep(plan.delay);
    page.advance();
    truth.set_agent_moved();
    Ok(())
}
