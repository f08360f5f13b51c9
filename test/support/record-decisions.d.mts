export function recorded(code: string, id: string): string | undefined;
