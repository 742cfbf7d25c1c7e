//! Circular imports between the source files of a crate.
//!
//! [`tree`] reads the modules of a crate, [`collect`] the names that a module uses, [`resolve`] finds
//! the file that defines each, and [`graph`] finds the circles.

mod collect;
mod graph;
mod resolve;
mod tree;

#[cfg(test)]
mod unit_tests;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use cargo_metadata::{Metadata, MetadataCommand, TargetKind};

use self::graph::Graph;
use self::resolve::Edge;
use self::tree::Tree;
use crate::error::Error;
use crate::workspace::Workspace;

/// Fails if there are circular imports in a crate of the workspace, or in the one that the first
/// argument names.
pub(crate) fn cycles(workspace: &Workspace, args: &[String]) -> Result<(), Error> {
    let roots = match args {
        [] => crate_roots(workspace.metadata()?),
        [path] => roots_at(Path::new(path))?,
        [_, other, ..] => {
            return Err(Error::Usage(format!("expected at most one path, got `{other}` as well")));
        }
    };
    let (mut files, mut circles, mut report) = (0, 0, String::new());
    for root in &roots {
        let tree = Tree::load(root)?;
        files += tree.files.len();
        let found = circles_of(&tree);
        circles += found.len();
        let shown = root.strip_prefix(workspace.root()).unwrap_or(root).display();
        for circle in found {
            report += &format!("\ncrate {shown}:\n{}", circle.text(&tree, workspace.root()));
        }
    }
    if circles == 0 {
        anstream::println!("no circular imports; files: {files}, crates: {}", roots.len());
        return Ok(());
    }
    let groups = if circles == 1 { "group" } else { "groups" };
    Err(Error::Check(format!("{circles} {groups} of files with circular imports\n{report}")))
}

/// The root files of all crates of a workspace: libraries, binaries, examples, tests and benches.
fn crate_roots(metadata: &Metadata) -> Vec<PathBuf> {
    let packages = metadata.workspace_packages();
    let targets = packages.iter().flat_map(|package| &package.targets);
    let targets = targets.filter(|target| !target.kind.contains(&TargetKind::CustomBuild));
    let mut roots: Vec<PathBuf> =
        targets.map(|target| target.src_path.clone().into_std_path_buf()).collect();
    roots.sort();
    roots.dedup();
    roots
}

/// The root files of the crates at a path: a root file, or a folder with a manifest or root files.
fn roots_at(path: &Path) -> Result<Vec<PathBuf>, Error> {
    let path = path.canonicalize().map_err(Error::io(format!("open {}", path.display())))?;
    if path.is_file() {
        return Ok(vec![path]);
    }
    let manifest = path.join("Cargo.toml");
    if manifest.is_file() {
        let metadata = MetadataCommand::new().manifest_path(&manifest).no_deps().exec()?;
        return Ok(crate_roots(&metadata));
    }
    let roots = ["lib.rs", "main.rs"].map(|name| path.join(name));
    let roots: Vec<_> = roots.into_iter().filter(|root| root.is_file()).collect();
    if roots.is_empty() {
        let path = path.display();
        return Err(Error::Usage(format!("expected Cargo.toml, lib.rs or main.rs in {path}")));
    }
    Ok(roots)
}

/// Files that import each other in a circle, and the imports between them.
struct Circle {
    /// The shortest way around, as file numbers.
    shortest: Vec<usize>,
    edges: Vec<Edge>,
}

/// Finds the circles of a crate.
fn circles_of(tree: &Tree) -> Vec<Circle> {
    let edges = resolve::edges(tree);
    let graph = Graph::new(edges.iter().map(|edge| (edge.from, edge.to)));
    let circle = |files: Vec<usize>| {
        let inside =
            edges.iter().filter(|edge| files.contains(&edge.from) && files.contains(&edge.to));
        Circle { shortest: graph.shortest_circle(&files), edges: inside.cloned().collect() }
    };
    graph.components().into_iter().map(circle).collect()
}

impl Circle {
    /// The shortest way around, then each import with its name and line.
    fn text(&self, tree: &Tree, base: &Path) -> String {
        let name = |file: usize| {
            let path = tree.files.get(file).map_or(Path::new(""), PathBuf::as_path);
            path.strip_prefix(base).unwrap_or(path).display().to_string()
        };
        let around = self.shortest.iter().chain(self.shortest.first());
        let around: Vec<_> = around.map(|file| name(*file)).collect();
        let mut imports: BTreeMap<(usize, usize), Vec<String>> = BTreeMap::new();
        for edge in &self.edges {
            let import = format!("`{}` (line {})", edge.name, edge.line);
            imports.entry((edge.from, edge.to)).or_default().push(import);
        }
        let mut text = format!("  shortest circle: {}\n", around.join(" -> "));
        for ((from, to), names) in imports {
            // writing to a String cannot fail
            let _ = writeln!(text, "  {} -> {}: {}", name(from), name(to), names.join(", "));
        }
        text
    }
}
