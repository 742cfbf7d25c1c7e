//! A record as the API answers it.

use sip_authz::DecisionSid;
use sip_authz_rest::decisions::DecisionRecord;

use super::shown::Shown;

impl Shown<'_> {
    /// The fields for the API, with the SID of the record and the name of the edge.
    pub(crate) fn answer(self, sid: DecisionSid, edge: &str) -> DecisionRecord {
        let owned = |text: Option<&'static str>| text.map(str::to_owned);
        let all = |texts: Vec<&'static str>| texts.into_iter().map(str::to_owned).collect();
        let personal = self.personal;
        let text = |text: Option<std::borrow::Cow<'_, str>>| text.map(std::borrow::Cow::into_owned);
        // the type belongs to another crate, and can get further fields
        let mut record = DecisionRecord::default();
        record.sid = sid.to_string();
        edge.clone_into(&mut record.edge);
        record.time = self.time;
        self.transport.clone_into(&mut record.transport);
        self.outcome.clone_into(&mut record.outcome);
        self.reason.clone_into(&mut record.reason);
        record.snapshot = self.snapshot;
        record.status = self.status;
        record.code = self.code;
        record.method = owned(self.method);
        record.account = self.account;
        record.target = self.target;
        record.name = self.name;
        record.access_list = self.access_list;
        record.address = self.address;
        record.credential_list = self.credential_list;
        record.credential = self.credential;
        record.repeat = self.repeat;
        record.cause = owned(self.cause);
        record.claimed = self.claimed;
        record.defect = self.defect;
        record.header = owned(self.header);
        record.algorithm = owned(self.algorithm);
        record.qop = owned(self.qop);
        record.cseq = self.cseq;
        record.took_us = self.took_us;
        record.host = text(personal.host);
        record.called = text(personal.called);
        record.from = text(personal.from);
        record.claimed_user = text(personal.claimed_user);
        record.realm = text(personal.realm);
        record.call_id = text(personal.call_id);
        record.user_agent = text(personal.user_agent);
        record.source = personal.source;
        record.username = text(personal.username);
        record.permissions = all(self.permissions);
        record.shortened = all(personal.shortened);
        record
    }
}
