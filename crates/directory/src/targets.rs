//! SIP domains and trunks, and their policies.

use super::{Directory, DirectoryError, Kind, Limits, Listing, Page, Plan, View};
use sip_authz::model::{
    Commit, Domain, DomainName, Key, OnAccept, Policy, PolicyRecord, Record, Target, Trunk,
};
use sip_authz::{AccountSid, DomainSid, TrunkSid};
use sip_authz_store::{Collection, Store};

impl View<'_> {
    pub(super) fn domain(
        self,
        account: AccountSid,
        sid: DomainSid,
    ) -> Result<Domain, DirectoryError> {
        match self.records.get(Key::Target(sid.into())) {
            Some(Record::Domain(domain)) if domain.account == account => Ok(domain.clone()),
            _ => Err(DirectoryError::NotFound(Kind::Domain)),
        }
    }

    pub(super) fn trunk(self, account: AccountSid, sid: TrunkSid) -> Result<Trunk, DirectoryError> {
        match self.records.get(Key::Target(sid.into())) {
            Some(Record::Trunk(trunk)) if trunk.account == account => Ok(trunk.clone()),
            _ => Err(DirectoryError::NotFound(Kind::Trunk)),
        }
    }

    pub(super) fn policy(
        self,
        account: AccountSid,
        target: Target,
    ) -> Result<PolicyRecord, DirectoryError> {
        self.own_target(account, target)?;
        match self.records.get(Key::Policy(target)) {
            Some(Record::Policy(record)) => Ok(record.clone()),
            _ => Ok(PolicyRecord::new(target, Policy::default())),
        }
    }

    pub(super) fn domains(
        self,
        account: AccountSid,
        page: Page,
    ) -> Result<Listing<Domain>, DirectoryError> {
        Ok(self.list(Collection::Domains(account), page, |record| match record {
            Record::Domain(domain) => Some(domain),
            _ => None,
        }))
    }

    pub(super) fn trunks(
        self,
        account: AccountSid,
        page: Page,
    ) -> Result<Listing<Trunk>, DirectoryError> {
        Ok(self.list(Collection::Trunks(account), page, |record| match record {
            Record::Trunk(trunk) => Some(trunk),
            _ => None,
        }))
    }

    /// Fails unless the account owns the target.
    pub(super) fn own_target(
        self,
        account: AccountSid,
        target: Target,
    ) -> Result<(), DirectoryError> {
        match target {
            Target::Domain(sid) => self.domain(account, sid).map(drop),
            Target::Trunk(sid) => self.trunk(account, sid).map(drop),
        }
    }
}

impl<S: Store> Directory<S> {
    /// Makes a domain. Its name must be free and have a suffix that the installation admits; `fill` sets
    /// the other fields.
    ///
    /// # Errors
    ///
    /// [`DirectoryError`].
    pub async fn create_domain(
        &self,
        account: AccountSid,
        name: DomainName,
        fill: impl FnOnce(&mut Domain) + Send,
    ) -> Result<Domain, DirectoryError> {
        let (ms, random) = self.sid_parts()?;
        let sid = DomainSid::from_time(ms, random);
        let mut domain = Domain::new(sid, account, name);
        fill(&mut domain);
        domain = Domain { sid, account, dates: self.created_now(), ..domain };
        self.check_domain(&domain)?;
        self.check_on_accept(Kind::Domain, domain.on_accept.as_ref())?;
        let limit = self.settings.limits.domains;
        self.transact(|view| {
            view.check_quota(Collection::Domains(account), Kind::Domain, limit)?;
            Ok(Plan::put(domain.clone()))
        })
        .await?;
        Ok(domain)
    }

    /// A domain of the account.
    ///
    /// # Errors
    ///
    /// [`DirectoryError::NotFound`].
    pub async fn domain(
        &self,
        account: AccountSid,
        sid: DomainSid,
    ) -> Result<Domain, DirectoryError> {
        self.read(|view| view.domain(account, sid)).await
    }

    /// The account's domains.
    ///
    /// # Errors
    ///
    /// [`DirectoryError::Store`].
    pub async fn domains(
        &self,
        account: AccountSid,
        page: Page,
    ) -> Result<Listing<Domain>, DirectoryError> {
        self.read(|view| view.domains(account, page)).await
    }

    /// Changes a domain with `change`; SID, owner and date of creation stay. `change` may run several
    /// times, each time on the current domain.
    ///
    /// # Errors
    ///
    /// [`DirectoryError`], also what `change` returns.
    pub async fn update_domain(
        &self,
        account: AccountSid,
        sid: DomainSid,
        change: impl Fn(&mut Domain) -> Result<(), DirectoryError> + Send + Sync,
    ) -> Result<Domain, DirectoryError> {
        self.transact(|view| {
            let mut domain = view.domain(account, sid)?;
            let (dates, on_accept) = (self.updated_now(domain.dates), domain.on_accept.clone());
            change(&mut domain)?;
            domain = Domain { sid, account, dates, ..domain };
            self.check_domain(&domain)?;
            // a target that is no longer allowed does not prevent other changes
            if domain.on_accept != on_accept {
                self.check_on_accept(Kind::Domain, domain.on_accept.as_ref())?;
            }
            Ok(Plan::update(domain))
        })
        .await
    }

    /// Deletes a domain with its mappings and its policy.
    ///
    /// # Errors
    ///
    /// [`DirectoryError`].
    pub async fn delete_domain(
        &self,
        account: AccountSid,
        sid: DomainSid,
    ) -> Result<(), DirectoryError> {
        self.delete_target(account, sid.into()).await
    }

    /// Makes a trunk; `fill` sets its fields. The host name is optional.
    ///
    /// # Errors
    ///
    /// [`DirectoryError`].
    pub async fn create_trunk(
        &self,
        account: AccountSid,
        fill: impl FnOnce(&mut Trunk) + Send,
    ) -> Result<Trunk, DirectoryError> {
        let (ms, random) = self.sid_parts()?;
        let sid = TrunkSid::from_time(ms, random);
        let mut trunk = Trunk::new(sid, account, None);
        fill(&mut trunk);
        trunk = Trunk { sid, account, dates: self.created_now(), ..trunk };
        self.check_trunk(&trunk)?;
        self.check_on_accept(Kind::Trunk, trunk.on_accept.as_ref())?;
        let limit = self.settings.limits.trunks;
        self.transact(|view| {
            view.check_quota(Collection::Trunks(account), Kind::Trunk, limit)?;
            Ok(Plan::put(trunk.clone()))
        })
        .await?;
        Ok(trunk)
    }

    /// A trunk of the account.
    ///
    /// # Errors
    ///
    /// [`DirectoryError::NotFound`].
    pub async fn trunk(&self, account: AccountSid, sid: TrunkSid) -> Result<Trunk, DirectoryError> {
        self.read(|view| view.trunk(account, sid)).await
    }

    /// The account's trunks.
    ///
    /// # Errors
    ///
    /// [`DirectoryError::Store`].
    pub async fn trunks(
        &self,
        account: AccountSid,
        page: Page,
    ) -> Result<Listing<Trunk>, DirectoryError> {
        self.read(|view| view.trunks(account, page)).await
    }

    /// Changes a trunk, as [`Self::update_domain`] changes a domain.
    ///
    /// # Errors
    ///
    /// [`DirectoryError`], also what `change` returns.
    pub async fn update_trunk(
        &self,
        account: AccountSid,
        sid: TrunkSid,
        change: impl Fn(&mut Trunk) -> Result<(), DirectoryError> + Send + Sync,
    ) -> Result<Trunk, DirectoryError> {
        self.transact(|view| {
            let mut trunk = view.trunk(account, sid)?;
            let (dates, on_accept) = (self.updated_now(trunk.dates), trunk.on_accept.clone());
            change(&mut trunk)?;
            trunk = Trunk { sid, account, dates, ..trunk };
            self.check_trunk(&trunk)?;
            // a target that is no longer allowed does not prevent other changes
            if trunk.on_accept != on_accept {
                self.check_on_accept(Kind::Trunk, trunk.on_accept.as_ref())?;
            }
            Ok(Plan::update(trunk))
        })
        .await
    }

    /// Deletes a trunk with its associations and its policy.
    ///
    /// # Errors
    ///
    /// [`DirectoryError`].
    pub async fn delete_trunk(
        &self,
        account: AccountSid,
        sid: TrunkSid,
    ) -> Result<(), DirectoryError> {
        self.delete_target(account, sid.into()).await
    }

    /// The policy in force for a domain or trunk; the default if none was set.
    ///
    /// # Errors
    ///
    /// [`DirectoryError::NotFound`] if there is no such domain or trunk.
    pub async fn policy(
        &self,
        account: AccountSid,
        target: Target,
    ) -> Result<PolicyRecord, DirectoryError> {
        self.read(|view| view.policy(account, target)).await
    }

    /// Changes the policy of a domain or trunk: `change` gets the one in force.
    ///
    /// # Errors
    ///
    /// [`DirectoryError`], also what `change` returns.
    pub async fn update_policy(
        &self,
        account: AccountSid,
        target: Target,
        change: impl Fn(&mut Policy) -> Result<(), DirectoryError> + Send + Sync,
    ) -> Result<PolicyRecord, DirectoryError> {
        self.transact(|view| {
            let mut record = view.policy(account, target)?;
            change(&mut record.policy)?;
            record.dates = match record.dates.created {
                0 => self.created_now(),
                _ => self.updated_now(record.dates),
            };
            Ok(Plan::update(record))
        })
        .await
    }

    async fn delete_target(
        &self,
        account: AccountSid,
        target: Target,
    ) -> Result<(), DirectoryError> {
        self.transact(|view| {
            view.own_target(account, target)?;
            let mut commit = Commit::new();
            for key in view.keys(Collection::Mappings(target)) {
                commit.delete(key);
            }
            if view.records.get(Key::Policy(target)).is_some() {
                commit.delete(Key::Policy(target));
            }
            commit.delete(Key::Target(target));
            Ok(Plan::Write(commit, ()))
        })
        .await
    }

    pub(super) fn check_domain(&self, domain: &Domain) -> Result<(), DirectoryError> {
        self.check_suffix(Kind::Domain, &domain.name)?;
        Limits::friendly_name(Kind::Domain, &domain.friendly_name)
    }

    pub(super) fn check_trunk(&self, trunk: &Trunk) -> Result<(), DirectoryError> {
        if let Some(name) = &trunk.name {
            self.check_suffix(Kind::Trunk, name)?;
        }
        Limits::friendly_name(Kind::Trunk, &trunk.friendly_name)
    }

    /// Fails if a target of a redirect or a hop of a forward is not among
    /// [`Settings::next_hops`](super::Settings).
    ///
    /// # Errors
    ///
    /// [`DirectoryError::Invalid`].
    pub fn check_on_accept(
        &self,
        kind: Kind,
        on_accept: Option<&OnAccept>,
    ) -> Result<(), DirectoryError> {
        let Some(on_accept) = on_accept else { return Ok(()) };
        self.settings.next_hops.check(on_accept).map_err(|refusal| {
            let message = format!(
                "OnAccept: {refusal}; the operator of the server allows next hops with \
                 --next-hop-allow"
            );
            DirectoryError::invalid(kind, message)
        })
    }

    fn check_suffix(&self, kind: Kind, name: &DomainName) -> Result<(), DirectoryError> {
        let suffixes = &self.settings.suffixes;
        let ends = |suffix: &String| {
            name.as_str().strip_suffix(suffix.as_str()).is_some_and(|rest| rest.ends_with('.'))
        };
        if suffixes.is_empty() || suffixes.iter().any(ends) {
            return Ok(());
        }
        let suffixes = suffixes.join(", .");
        let message = format!("DomainName must end in one of .{suffixes}; got `{name}`");
        Err(DirectoryError::BadName { kind, message })
    }
}
