//! Finds the file that defines what a path names.

use std::collections::BTreeSet;

use super::collect::{Import, NamedPath};
use super::tree::{ModuleId, Tree};

/// An import of one file by another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Edge {
    /// The number of the file that imports.
    pub(crate) from: usize,
    /// The number of the file that defines the name.
    pub(crate) to: usize,
    /// The path in the source.
    pub(crate) name: String,
    /// Its line.
    pub(crate) line: usize,
}

/// The meaning of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Target {
    /// A module of the crate.
    Module(ModuleId),
    /// An item in a module of the crate, or of another crate and imported by that module.
    Item(ModuleId),
}

impl Target {
    /// The module, or the one with the item.
    fn module(self) -> ModuleId {
        match self {
            Self::Module(id) | Self::Item(id) => id,
        }
    }
}

/// The imports between the files of a crate, apart from those between a module and the modules
/// inside it.
pub(crate) fn edges(tree: &Tree) -> Vec<Edge> {
    let mut edges = BTreeSet::new();
    for (id, module) in tree.modules() {
        let names = &module.names;
        let uses = names.imports.iter().filter_map(|import| of_import(tree, id, import));
        let globs = names.globs.iter().map(|path| (path, resolve(tree, id, path)));
        let paths = names.paths.iter().filter_map(|path| of_path(tree, id, path));
        for (path, targets) in uses.chain(globs).chain(paths) {
            for target in targets {
                let (from, to) = (module.file, tree[target.module()].file);
                if !tree.is_around(to, id) && !tree.is_around(from, target.module()) {
                    edges.insert(Edge { from, to, name: path.text(), line: path.line });
                }
            }
        }
    }
    edges.into_iter().collect()
}

/// Resolves an import of a module. The result is none if it imports a module and other paths go
/// through that module, because these paths name the items.
fn of_import<'a>(
    tree: &Tree,
    id: ModuleId,
    import: &'a Import,
) -> Option<(&'a NamedPath, Vec<Target>)> {
    let targets = resolve(tree, id, &import.path);
    let names = &tree[id].names;
    let is_module = targets.iter().all(|target| matches!(target, Target::Module(_)));
    let goes_through = |path: &NamedPath| match path.segments.as_slice() {
        [first, _, ..] => *first == import.name,
        _ => false,
    };
    let uses = names.imports.iter().map(|import| &import.path);
    let mut longer = uses.chain(&names.globs).chain(&names.paths);
    if is_module && longer.any(goes_through) {
        return None;
    }
    Some((&import.path, items_or_modules(targets)))
}

/// Resolves a path in the code of a module. The result is none if an import covers it.
fn of_path<'a>(
    tree: &Tree,
    id: ModuleId,
    path: &'a NamedPath,
) -> Option<(&'a NamedPath, Vec<Target>)> {
    let first = path.segments.first()?;
    if matches!(first.as_str(), "crate" | "self" | "super") {
        // `self` alone is the receiver of a method
        return (path.segments.len() > 1)
            .then(|| (path, items_or_modules(resolve(tree, id, path))));
    }
    let own = direct(tree, id, first, &mut Vec::new());
    let through_module = path.segments.len() > 1 && own.iter().any(is_module);
    if !own.is_empty() && !through_module {
        return None;
    }
    let mut targets = items_or_modules(resolve(tree, id, path));
    if path.segments.len() == 1 {
        // it may be a variable with the name of a module
        targets.retain(|target| !is_module(target));
    }
    Some((path, targets))
}

fn is_module(target: &Target) -> bool {
    matches!(target, Target::Module(_))
}

/// The items among targets, or the modules if there are no items.
fn items_or_modules(mut targets: Vec<Target>) -> Vec<Target> {
    if !targets.iter().all(is_module) {
        targets.retain(|target| !is_module(target));
    }
    targets
}

/// Resolves a path in a module. The result is empty for a name of another crate.
fn resolve(tree: &Tree, from: ModuleId, path: &NamedPath) -> Vec<Target> {
    resolve_segments(tree, from, &path.segments, &mut Vec::new())
}

/// The names that are being looked up, so that imports in a circle end.
type Pending = Vec<(ModuleId, String)>;

fn resolve_segments(
    tree: &Tree,
    from: ModuleId,
    segments: &[String],
    pending: &mut Pending,
) -> Vec<Target> {
    let Some((first, mut rest)) = segments.split_first() else { return Vec::new() };
    let mut targets = match first.as_str() {
        "crate" => vec![Target::Module(Tree::ROOT)],
        "self" => vec![Target::Module(from)],
        "super" => {
            let mut at = tree[from].parent;
            while let Some((next, after)) = rest.split_first()
                && next == "super"
            {
                at = at.and_then(|id| tree[id].parent);
                rest = after;
            }
            at.map(Target::Module).into_iter().collect()
        }
        name => lookup(tree, from, name, pending),
    };
    for segment in rest {
        if targets.iter().any(is_module) {
            // a module and a function may have one name; only the module has more behind it
            targets.retain(is_module);
        }
        let step = |target: &Target| match *target {
            Target::Item(id) => vec![Target::Item(id)],
            Target::Module(id) => {
                let found = lookup(tree, id, segment, pending);
                // such as a name that a macro defines
                if found.is_empty() { vec![Target::Item(id)] } else { found }
            }
        };
        targets = targets.iter().flat_map(step).collect();
        targets.sort_unstable();
        targets.dedup();
    }
    targets
}

/// Finds a name in a module, also among its glob imports.
fn lookup(tree: &Tree, id: ModuleId, name: &str, pending: &mut Pending) -> Vec<Target> {
    let found = direct(tree, id, name, pending);
    let key = (id, name.to_owned());
    if !found.is_empty() || pending.contains(&key) {
        return found;
    }
    pending.push(key);
    let mut found = Vec::new();
    for glob in &tree[id].names.globs {
        for target in resolve_segments(tree, id, &glob.segments, pending) {
            if let Target::Module(inside) = target {
                found.extend(lookup(tree, inside, name, pending));
            }
        }
    }
    pending.pop();
    found
}

/// Finds a name among the items, modules and single imports of a module.
fn direct(tree: &Tree, id: ModuleId, name: &str, pending: &mut Pending) -> Vec<Target> {
    let module = &tree[id];
    let children = module.children.get(name).into_iter().flatten();
    let mut found: Vec<_> = children.map(|child| Target::Module(*child)).collect();
    if module.names.items.contains(name) {
        found.push(Target::Item(id));
    }
    let key = (id, name.to_owned());
    if pending.contains(&key) {
        return found;
    }
    pending.push(key);
    for import in module.names.imports.iter().filter(|import| import.name == name) {
        let targets = resolve_segments(tree, id, &import.path.segments, pending);
        // an import from another crate belongs to the module that imports
        found.extend(if targets.is_empty() { vec![Target::Item(id)] } else { targets });
    }
    pending.pop();
    found
}
