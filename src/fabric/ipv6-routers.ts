/**
 * Which frames only routers of IPv6 have a use for, and who is one. Every interface that comes up reports the groups
 * that it is in and asks for routers, some ten frames in its first minute; brought to all members of a network, that is
 * the square of their number. As RFC 4541 (section 3) has it for switches that look into such reports, these go where
 * routers are; all other groups go to everybody. Pure: reads frames that guests made up as they like.
 */

const etherTypeIpv6 = 0x86dd;
/** Of destinations that are groups of IPv6; the last four bytes are the group's (RFC 2464). */
export const ipv6GroupHi = 0x3333;
/** ff02::2, all routers, and ff02::16, all that take reports of MLDv2 (RFC 3810): by their last four bytes. */
const allRouters = 0x02;
const allReportTakers = 0x16;

const ipv6At = 14;
const ipv6Bytes = 40;
const icmpv6 = 58;
const hopByHop = 0;
/** RFC 4861, RFC 2710, RFC 3810. */
const types = { query: 130, reportV1: 131, routerAdvertisement: 134, reportV2: 143 } as const;

/** Whether a frame goes to routers alone. */
export function isForIpv6Routers(view: DataView, offset: number, length: number): boolean {
  if (length < ipv6At + ipv6Bytes || view.getUint16(offset) !== ipv6GroupHi) return false;
  const group = view.getUint32(offset + 2);
  return (group === allRouters || group === allReportTakers) && view.getUint16(offset + 12) === etherTypeIpv6;
}

/**
 * Whether a frame shows that a router sends it: what only routers send, or a report that its sender is in one of the
 * groups of routers.
 */
export function showsIpv6Router(view: DataView, offset: number, length: number): boolean {
  if (length < ipv6At + ipv6Bytes + 8 || view.getUint16(offset + 12) !== etherTypeIpv6) return false;
  const end = offset + length;
  let at = offset + ipv6At + ipv6Bytes;
  let protocol = view.getUint8(offset + ipv6At + 6);
  if (protocol === hopByHop) {
    protocol = view.getUint8(at);
    at += (view.getUint8(at + 1) + 1) * 8;
  }
  if (protocol !== icmpv6 || at + 8 > end) return false;
  const type = view.getUint8(at);
  if (type === types.routerAdvertisement || type === types.query) return true;
  if (type === types.reportV1) return at + 24 <= end && isGroupOfRouters(view, at + 8);
  return type === types.reportV2 && reportsGroupOfRouters(view, at, end);
}

function reportsGroupOfRouters(view: DataView, report: number, end: number): boolean {
  let at = report + 8;
  for (let records = view.getUint16(report + 6); records > 0 && at + 20 <= end; records--) {
    if (isGroupOfRouters(view, at + 4)) return true;
    at += 20 + view.getUint16(at + 2) * 16 + view.getUint8(at + 1) * 4;
  }
  return false;
}

/** An address of 16 bytes: ff02::2 or ff02::16. */
function isGroupOfRouters(view: DataView, at: number): boolean {
  if (view.getUint32(at) !== 0xff020000 || view.getUint32(at + 4) !== 0 || view.getUint32(at + 8) !== 0)
    return false;
  const last = view.getUint32(at + 12);
  return last === allRouters || last === allReportTakers;
}
