//! Speed of snaprng beside other generators.
//!
//! `cargo bench --bench peers` in the root of the repository builds and starts this. What it measures
//! and how to read it: `benches/README.md`.

mod beyond;
mod child;
mod contenders;
mod cpu;
mod measure;
mod options;
mod paint;
mod parent;
mod plot;
mod report;
mod runs;
mod table;
mod targets;
mod world;

use std::process::ExitCode;

use options::{Asked, HELP, Options};
use report::Report;
use world::World;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    if let [first, rest @ ..] = &*std::env::args().skip(1).collect::<Vec<_>>() {
        match (first.as_str(), rest) {
            ("--child", [world, options]) => return child_process(world, options),
            ("--first", [whose]) => return beyond::first::in_this_process(whose),
            _ => {}
        }
    }
    let outcome = match Options::parse(&mut arguments) {
        Ok(Asked::Run(options)) => run(&options),
        Ok(Asked::Help) => {
            print!("{HELP}");
            Ok(ExitCode::SUCCESS)
        }
        Err(why) => {
            eprintln!("{why}\n\n{HELP}");
            return ExitCode::from(2);
        }
    };
    outcome.unwrap_or_else(|why| {
        eprintln!("error: {why}");
        ExitCode::FAILURE
    })
}

fn child_process(world: &str, options: &str) -> ExitCode {
    match (World::of_id(world), serde_json::from_str(options)) {
        (Some(world), Ok(options)) => {
            child::run(world, &options);
            ExitCode::SUCCESS
        }
        _ => ExitCode::from(2),
    }
}

fn run(options: &Options) -> Result<ExitCode, String> {
    let report = match options.from.as_slice() {
        [] => parent::run(options),
        [path] => Report::read(path)?,
        _ if options.json.is_some() || options.plot.is_some() => {
            return Err(
                "several runs are shown beside each other, and neither written nor drawn".into()
            );
        }
        paths => {
            let reports: Result<Vec<Report>, String> =
                paths.iter().map(|p| Report::read(p)).collect();
            print!("{}", runs::render(&reports?));
            return Ok(ExitCode::SUCCESS);
        }
    };
    print!("{}", table::render(&report));
    if let Some(path) = &options.json {
        report.write(path)?;
    }
    if let Some(path) = &options.plot {
        plot::write(&report, path)?;
    }
    let missed = options.require && table::Count::of(&report).missed > 0;
    let failed = missed || !report.failures.is_empty();
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
