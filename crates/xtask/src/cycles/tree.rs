//! The modules of a crate and their files.

use std::collections::HashMap;
use std::fs;
use std::ops::Index;
use std::path::{Path, PathBuf};

use syn::{Attribute, Expr, Item, ItemMod, Lit, Meta};

use super::collect::{self, Names};
use crate::error::Error;

/// The number of a module in its tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ModuleId(usize);

/// A module, in its own file or in the file of another module.
pub(crate) struct Module {
    /// The module around it; none for the root of the crate.
    pub(crate) parent: Option<ModuleId>,
    /// The number of its file in the tree.
    pub(crate) file: usize,
    /// The modules in it. Two may have one name, for different platforms.
    pub(crate) children: HashMap<String, Vec<ModuleId>>,
    /// The names that it defines and uses.
    pub(crate) names: Names,
}

/// All modules of a crate.
pub(crate) struct Tree {
    /// The source files.
    pub(crate) files: Vec<PathBuf>,
    modules: Vec<Module>,
}

/// Where `mod name;` finds its file.
struct Place {
    /// The file with the declaration.
    file: PathBuf,
    /// The folder for files of modules in it.
    folder: PathBuf,
    /// Whether the declaration is inside `mod { … }`.
    inline: bool,
}

impl Tree {
    /// The root module.
    pub(crate) const ROOT: ModuleId = ModuleId(0);

    /// Reads a crate from its root file.
    pub(crate) fn load(root: &Path) -> Result<Self, Error> {
        let mut tree = Self { files: Vec::new(), modules: Vec::new() };
        let folder = root.parent().unwrap_or(Path::new("")).to_owned();
        tree.load_file(root, folder, None)?;
        Ok(tree)
    }

    /// All modules with their numbers.
    pub(crate) fn modules(&self) -> impl Iterator<Item = (ModuleId, &Module)> {
        self.modules.iter().enumerate().map(|(number, module)| (ModuleId(number), module))
    }

    /// Whether a file has the code of a module around the given one.
    pub(crate) fn is_around(&self, file: usize, module: ModuleId) -> bool {
        let mut at = Some(module);
        while let Some(id) = at {
            if self[id].file == file {
                return true;
            }
            at = self[id].parent;
        }
        false
    }

    /// Reads a file. `folder` is where the files of modules in it are.
    fn load_file(
        &mut self,
        path: &Path,
        folder: PathBuf,
        parent: Option<ModuleId>,
    ) -> Result<Option<ModuleId>, Error> {
        let text =
            fs::read_to_string(path).map_err(Error::io(format!("read {}", path.display())))?;
        let parsed = syn::parse_file(&text).map_err(|error| {
            let line = error.span().start().line;
            Error::Check(format!("cannot parse {}:{line}: {error}", path.display()))
        })?;
        if parent.is_some() && collect::is_for_tests(&parsed.attrs) {
            return Ok(None);
        }
        let file = self.files.len();
        self.files.push(path.to_owned());
        let place = Place { file: path.to_owned(), folder, inline: false };
        self.add(&parsed.items, file, &place, parent).map(Some)
    }

    /// Adds a module with the modules in it.
    fn add(
        &mut self,
        items: &[Item],
        file: usize,
        place: &Place,
        parent: Option<ModuleId>,
    ) -> Result<ModuleId, Error> {
        let id = ModuleId(self.modules.len());
        let names = Names::of(items);
        self.modules.push(Module { parent, file, children: HashMap::new(), names });
        let mut children: HashMap<String, Vec<ModuleId>> = HashMap::new();
        for item in items {
            let Item::Mod(item) = item else { continue };
            if collect::is_for_tests(&item.attrs) {
                continue;
            }
            if let Some(child) = self.add_child(item, file, place, id)? {
                children.entry(collect::plain(&item.ident)).or_default().push(child);
            }
        }
        if let Some(module) = self.modules.get_mut(id.0) {
            module.children = children;
        }
        Ok(id)
    }

    /// Adds the module of a `mod` item, unless it is for tests only.
    fn add_child(
        &mut self,
        item: &ItemMod,
        file: usize,
        place: &Place,
        parent: ModuleId,
    ) -> Result<Option<ModuleId>, Error> {
        let name = collect::plain(&item.ident);
        let explicit = path_attribute(&item.attrs);
        if let Some((_, items)) = &item.content {
            let folder = place.folder.join(explicit.unwrap_or(name));
            let place = Place { file: place.file.clone(), folder, inline: true };
            return self.add(items, file, &place, Some(parent)).map(Some);
        }
        if let Some(explicit) = explicit {
            let beside = place.file.parent().unwrap_or(Path::new(""));
            let path = if place.inline { &place.folder } else { beside }.join(explicit);
            // a file that is named by its path has the files of its modules beside it
            let folder = path.parent().unwrap_or(Path::new("")).to_owned();
            return self.load_file(&path, folder, Some(parent));
        }
        let folder = place.folder.join(&name);
        let candidates = [place.folder.join(format!("{name}.rs")), folder.join("mod.rs")];
        match candidates.iter().find(|path| path.is_file()) {
            Some(path) => self.load_file(path, folder, Some(parent)),
            None => {
                let line = item.ident.span().start().line;
                let declared = format!("{}:{line}", place.file.display());
                Err(Error::Check(format!("found no file for `mod {name}`, declared at {declared}")))
            }
        }
    }
}

impl Index<ModuleId> for Tree {
    type Output = Module;

    #[expect(clippy::indexing_slicing, reason = "only the tree makes numbers, each of its modules")]
    fn index(&self, id: ModuleId) -> &Module {
        &self.modules[id.0]
    }
}

/// The value of `#[path = "…"]`.
fn path_attribute(attributes: &[Attribute]) -> Option<String> {
    attributes.iter().find_map(|attribute| match &attribute.meta {
        Meta::NameValue(meta) if meta.path.is_ident("path") => match &meta.value {
            Expr::Lit(literal) => match &literal.lit {
                Lit::Str(text) => Some(text.value()),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    })
}
