/**
 * Which addresses belong to the public internet. Everything that the IANA special-purpose registries (RFC 6890) keep
 * for other uses counts as private: loopback, link-local (cloud metadata), RFC 1918, carriers, documentation, multicast.
 */
import { BlockList, isIP } from 'node:net';

const PRIVATE_V4 = [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.0.2.0', 24],
  ['192.88.99.0', 24],
  ['192.168.0.0', 16],
  ['198.18.0.0', 15],
  ['198.51.100.0', 24],
  ['203.0.113.0', 24],
  ['224.0.0.0', 3],
] as const;
/** Of 2000::/3, the only public part: protocol assignments with Teredo, documentation, 6to4, documentation. */
const PRIVATE_V6 = [
  ['2001::', 23],
  ['2001:db8::', 32],
  ['2002::', 16],
  ['3fff::', 20],
] as const;

const closed = new BlockList();
for (const [net, bits] of PRIVATE_V4) closed.addSubnet(net, bits, 'ipv4');
for (const [net, bits] of PRIVATE_V6) closed.addSubnet(net, bits, 'ipv6');
const open6 = new BlockList();
open6.addSubnet('2000::', 3, 'ipv6');

/** Whether an address (without brackets) may be reached by anybody: text that is no address is not. */
export function isPublicAddress(address: string): boolean {
  const family = isIP(address);
  if (family === 4) return !closed.check(address, 'ipv4');
  // outside 2000::/3 lie loopback, link-local, unique local, multicast, and every form that wraps an IPv4 address
  if (family === 6) return !address.includes('%') && open6.check(address, 'ipv6') && !closed.check(address, 'ipv6');
  return false;
}

/** Whether a host, as URLs write it, is this machine by its own name or address. */
export function isLoopbackHost(hostname: string): boolean {
  return /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/.test(hostname);
}
