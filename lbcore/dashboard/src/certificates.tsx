// Certificates with the days that are left, the most urgent first.

import type { JSX } from "preact";

import { count, counted, lasting, moment } from "./format";
import { State } from "./icons";
import { Empty, Heading, Paging, Search, pageOf } from "./parts";
import { route } from "./route";
import type { Condition } from "./state";
import { info, time } from "./store";
import type { Certificate } from "./types";

const WARN_DAYS = 30;
const VALID: Condition = { word: "valid", shape: "dot", tone: "well", about: "It is valid for a while." };
const SOON: Condition = { word: "expires soon", shape: "triangle", tone: "warn", about: `It expires within ${WARN_DAYS} days.` };
const OVER: Condition = { word: "expired", shape: "cross", tone: "bad", about: "Clients refuse it." };

function conditionOf(certificate: Certificate): Condition {
  if (certificate.daysLeft < 0 || certificate.status === "expired") return OVER;
  return certificate.status === "warning" || certificate.daysLeft < WARN_DAYS ? SOON : VALID;
}

export function CertificatesView(): JSX.Element {
  const known = info.value;
  if (!known) return <Empty>Loading…</Empty>;
  const search = (route.value.query["q"] ?? "").toLowerCase();
  const found = known.certificates
    .filter((each) => [each.commonName, ...each.sans, each.issuerCN].join(" ").toLowerCase().includes(search))
    .sort((a, b) => a.notAfterMs - b.notAfterMs);
  const { shown, page, pages } = pageOf(found);
  const all = known.certificatesTotal ?? known.certificates.length;
  return (
    <>
      <Heading>Certificates</Heading>
      {all === 0 && <Empty>No certificates are configured.</Empty>}
      {all > 0 && (
        <>
          <div class="tools">
            <Search label="Search certificates" placeholder="Name or issuer" />
          </div>
          {shown.length > 0 && (
            <table class="list">
              <caption class="sr">Certificates</caption>
              <thead>
                <tr>
                  <th scope="col">Names</th>
                  <th scope="col">State</th>
                  <th scope="col" class="number">Days left</th>
                  <th scope="col">Until</th>
                  <th scope="col">Issuer</th>
                  <th scope="col">Key</th>
                </tr>
              </thead>
              <tbody>
                {shown.map((each) => (
                  <tr key={each.name}>
                    <td class="of-name">
                      <strong>{each.commonName || each.sans[0]}</strong>
                      <span class="names">{each.sans.filter((name) => name !== each.commonName).join(", ")}</span>
                    </td>
                    <td data-title="State">
                      <State of={conditionOf(each)} />
                    </td>
                    <td class="number" data-title="Days left">{count(Math.max(0, each.daysLeft))}</td>
                    <td data-title="Until">
                      {moment(each.notAfterMs)}
                      {each.daysLeft < 0 && <span class="muted"> {lasting(time.value - each.notAfterMs)} ago</span>}
                    </td>
                    <td data-title="Issuer">{each.issuerCN || <span class="muted">unnamed</span>}</td>
                    <td data-title="Key">
                      {each.keyType} {each.keySize || ""}
                    </td>
                  </tr>
                ))}
              </tbody>
            </table>
          )}
          <Paging page={page} pages={pages} found={found.length} all={known.certificates.length} what="certificate" />
          {all > known.certificates.length && <p class="muted">{counted(all, "certificate")} in all; the first {count(known.certificates.length)} are shown.</p>}
        </>
      )}
    </>
  );
}
